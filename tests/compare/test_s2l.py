from dataclasses import replace

import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from lightning_fabric import Fabric
from references import argmax, m5

from pclmix.checkpoint import load_checkpoint, save_checkpoint
from pclmix.compare.s2l import confident_label, moved_average, periods_over, same_size_chunks
from pclmix.config import make_settings
from pclmix.data.crops import crop_maps
from pclmix.labels import IGNORE
from pclmix.session import open_session


def predictions(net, source):
    """Probabilities (K, h, w) a training slice, in eval mode, one by one."""
    net.eval()
    with torch.no_grad():
        found = [
            net(torch.from_numpy(source.image(place)[None].astype(np.float32))).softmax(1)[0].numpy()
            for place in range(len(source.slices))
        ]
    net.train()
    return found


class TestScribble2Label(MethodContract):
    name = "s2l"

    def test_partial_cross_entropy_alone_before_the_first_average(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.99 / 60, torch.Generator())
        expected = m5(net(batch.image).detach().numpy(), batch.scribble.numpy(), batch.valid.numpy())
        assert losses.total.item() == pytest.approx(expected, rel=1e-4)
        assert losses.terms["pseudo"] == 0 and made.periods == 0 and not made.average.any()

    def test_averages_start_and_move_when_a_period_is_over(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        batch = source.batch(0)
        first = predictions(net, source)
        made.losses(batch, 1 / 60, torch.Generator())
        for average, prediction in zip(made.maps, first, strict=True):
            np.testing.assert_allclose(average, prediction, atol=1e-3)
        kept = made.average.copy()
        self.move(net)
        made.losses(batch, 1.9 / 60, torch.Generator())
        assert np.array_equal(made.average, kept)
        second = predictions(net, source)
        made.losses(batch, 4.5 / 60, torch.Generator())
        assert made.periods == 4
        for average, old, new in zip(made.maps, first, second, strict=True):
            np.testing.assert_allclose(average, 0.8 * old + 0.2 * new, atol=2e-3)

    def move(self, net):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.05)

    def test_what_it_spends_besides_its_steps_is_told(self, monkeypatch):
        plan = make_plan()
        made, _ = self.make(plan)
        clock = iter([10.0, 10.5])
        monkeypatch.setattr("pclmix.compare.s2l.time.perf_counter", lambda: next(clock))
        assert made.seconds_besides(None) == pytest.approx(0.5 * 60)  # all six slices fit one chunk, sixty times a run
        assert not made.average.any() and made.net.training

    def test_predicting_disturbs_neither_mode_nor_statistics_nor_random_state(self):
        plan = make_plan()
        made, net = self.make(plan)
        torch.manual_seed(3)
        random = torch.get_rng_state()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        made._move_averages(torch.device("cpu"))
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert all(module.training for module in net.modules())

    def test_the_total_is_the_equation(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        batch = source.batch(2)
        made.losses(batch, 0.5, torch.Generator())
        for found in made.maps:
            powers = np.random.default_rng(1).exponential(size=found.shape) ** 3
            found[:] = powers / powers.sum(axis=0)
        losses = made.losses(batch, 0.5, torch.Generator())
        logits = net(batch.image).detach().numpy()
        average, scribble, valid = crop_maps(made.maps, batch).numpy(), batch.scribble.numpy(), batch.valid.numpy()
        target = np.full(scribble.shape, IGNORE)
        for b, y, x in np.ndindex(scribble.shape):
            values = average[b, :, y, x].tolist()
            if scribble[b, y, x] == IGNORE and valid[b, y, x] and max(values) > 0.8:
                target[b, y, x] = argmax(values)
        assert 10 < (target != IGNORE).sum() < valid.sum()
        supervised, pseudo = m5(logits, scribble, valid), m5(logits, target, valid)
        assert losses.terms["pseudo"].item() == pytest.approx(pseudo, rel=1e-4)
        assert losses.total.item() == pytest.approx(supervised + 0.5 * pseudo, rel=1e-4)

    def test_slices_of_different_sizes_keep_their_places(self):
        plan = make_plan()
        source = make_source(plan)
        cases = list(source.cases)
        narrow = replace(cases[1], image=cases[1].image[..., :20], label=cases[1].label[..., :20], dense=None)
        source = type(source)([cases[0], narrow], plan, source.augment, source.train, 0)
        made, net = self.make(plan, source=source)
        expected = predictions(net, source)
        made.losses(source.batch(0), 0.1, torch.Generator())
        assert [found.shape for found in made.maps] == [(3, 32, 28)] * 3 + [(3, 32, 20)] * 3
        for average, prediction in zip(made.maps, expected, strict=True):
            np.testing.assert_allclose(average, prediction, atol=1e-3)

    def test_a_resumed_session_goes_on_bit_for_bit(self, tmp_path):
        plan, settings = make_plan(), make_settings("cpu")
        cases = make_source(plan).cases

        def session():
            fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
            return open_session(fabric, self.method, cases, plan, settings, 0, 200)

        whole, first, second = session(), session(), session()
        for step in range(9):
            whole.advance(whole.source.batch(step), step / 200)
        for step in range(5):
            first.advance(first.source.batch(step), step / 200)
        save_checkpoint(tmp_path / "c.safetensors", first, 0.0)
        second.step, _ = load_checkpoint(tmp_path / "c.safetensors", second)
        for step in range(5, 9):
            second.advance(second.source.batch(step), step / 200)
        assert whole.method.periods == 2
        for part in ("module", "method"):
            one, other = getattr(whole, part).state_dict(), getattr(second, part).state_dict()
            assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("total", [60, 300, 3000, 6007])
def test_every_period_is_over_at_the_first_step_past_its_border(total):
    steps = [
        step
        for step in range(1, total)
        if periods_over(step / total, 1 / 60) > periods_over((step - 1) / total, 1 / 60)
    ]
    assert steps == [-(-total * count // 60) for count in range(1, 60)]


def test_the_moved_average_by_hand():
    average, prediction = np.array([0.5, 1.0], np.float16), np.array([1.0, 0.0], np.float32)
    np.testing.assert_allclose(moved_average(average, prediction, 0.2), [0.6, 0.8], rtol=1e-6)
    assert np.array_equal(moved_average(average, prediction, 1.0), prediction)


def test_only_confident_unannotated_valid_pixels_are_labelled():
    average = torch.tensor([[0.9, 0.8, 0.1, 0.95, 0.9], [0.1, 0.2, 0.9, 0.05, 0.1]]).view(1, 2, 1, 5)
    scribble = torch.tensor([[[IGNORE, IGNORE, IGNORE, 1, IGNORE]]])
    valid = torch.tensor([[[True, True, True, True, False]]])
    assert confident_label(average, scribble, valid, 0.8).tolist() == [[[0, IGNORE, 1, IGNORE, IGNORE]]]


def test_chunks_hold_every_place_once_and_one_size():
    sizes = [(2, 3), (4, 4), (2, 3), (2, 3), (9, 9)]
    assert same_size_chunks(sizes, 12) == [[0, 2], [3], [1], [4]]
