import math

import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from lightning_fabric import Fabric
from references import m5

from pclmix.checkpoint import load_checkpoint, save_checkpoint
from pclmix.compare.ustm import draw_turns, noisy, squared_difference, teacher_of, turned
from pclmix.config import make_settings
from pclmix.session import open_session


def teacher_weights(made):
    return [parameter.clone() for parameter in made.teacher.parameters()]


class TestUSTM(MethodContract):
    name = "ustm"

    def test_the_teacher_is_the_true_average_of_the_first_students(self):
        made, net = self.make(make_plan())
        students = []
        for step in range(4):
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.copy_(torch.full_like(parameter, float((step + 1) ** 2)))
            made.after_step()
            students.append(float((step + 1) ** 2))
            for parameter in made.teacher.parameters():
                torch.testing.assert_close(parameter, torch.full_like(parameter, sum(students) / len(students)))

    def test_later_the_teacher_is_an_exponential_average(self):
        made, net = self.make(make_plan())
        self.train(made, net, make_source(make_plan()).batch(0), 1)
        made.updates = 1000
        before = teacher_weights(made)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1.0)
        made.after_step()
        for old, student, new in zip(before, net.parameters(), teacher_weights(made), strict=True):
            torch.testing.assert_close(new, 0.99 * old + 0.01 * student.detach())

    def test_the_total_is_the_equation(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).plain_batch(0)
        self.train(made, net, batch, 12)
        losses = made.losses(batch, 0.7, torch.Generator().manual_seed(3))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            logits = net(batch.image).double()
            turns = int(torch.randint(4, (1,), generator=generator))
            image = torch.rot90(batch.image, turns, (2, 3))
            target = made.teacher(noisy(image, 0.1, generator)).softmax(1)
            copies = noisy(image.repeat(8, 1, 1, 1), 0.1, generator)
            passes = made.teacher(copies).softmax(1).view(8, 4, 3, 32, 32).numpy()
        student = torch.rot90(logits.softmax(1), turns, (2, 3)).numpy()
        valid = torch.rot90(batch.valid, turns, (1, 2)).numpy()
        bound = (0.375 + 0.125 * math.exp(-5 * 0.3**2)) * math.log(3)
        found = []
        for b in range(4):
            for y in range(32):
                for x in range(32):
                    mean = [sum(float(passes[t, b, k, y, x]) for t in range(8)) / 8 for k in range(3)]
                    if valid[b, y, x] and -sum(p * math.log(p) for p in mean) < bound:
                        found.append(sum((student[b, k, y, x] - float(target[b, k, y, x])) ** 2 for k in range(3)))
        assert 0 < len(found) < valid.sum()
        supervised = m5(logits.numpy(), batch.scribble.numpy(), batch.valid.numpy())
        expected = supervised + 0.1 * math.exp(-5 * 0.3**2) * sum(found) / len(found)
        assert losses.total.item() == pytest.approx(expected, rel=1e-4)
        assert losses.terms["consistency"].item() == pytest.approx(sum(found) / len(found), rel=1e-3)

    def test_no_running_statistics_of_the_teacher(self):
        made, _ = self.make(make_plan())
        assert not list(made.teacher.buffers())
        assert not any(parameter.requires_grad for parameter in made.teacher.parameters())

    def test_passes_in_groups_differ_from_all_at_once_only_by_their_noise(self, monkeypatch):
        made, _ = self.make(make_plan())
        image = make_source(make_plan()).plain_batch(0).image
        made.settings = made.settings.model_copy(update={"noise": 0.0})
        whole = made._teach(image, torch.Generator())
        monkeypatch.setattr("pclmix.compare.ustm.PIXELS_AT_ONCE", 3 * 4 * 32 * 32)
        for one, other in zip(whole, made._teach(image, torch.Generator()), strict=True):
            torch.testing.assert_close(one, other)

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_a_resumed_session_goes_on_bit_for_bit(self, tmp_path, precision):
        plan, settings = make_plan(), make_settings("cpu")
        cases = make_source(plan).cases

        def session():
            fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
            return open_session(fabric, self.method, cases, plan, settings, 0, 6)

        whole, first, second = session(), session(), session()
        for step in range(4):
            whole.advance(whole.source.batch(step), step / 6)
        for step in range(2):
            first.advance(first.source.batch(step), step / 6)
        save_checkpoint(tmp_path / "c.safetensors", first, 0.0)
        second.step, _ = load_checkpoint(tmp_path / "c.safetensors", second)
        for step in range(2, 4):
            second.advance(second.source.batch(step), step / 6)
        for part in ("module", "method"):
            one, other = getattr(whole, part).state_dict(), getattr(second, part).state_dict()
            assert one.keys() == other.keys()
            assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_copy_of_a_wrapped_network_computes_as_the_wrapper_does():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    wrapped, _ = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    teacher = teacher_of(wrapped)
    image = torch.randn(2, 1, 8, 8)
    assert torch.equal(teacher(image), wrapped(image).detach())
    teacher.eval()
    assert torch.equal(teacher(image), wrapped(image).detach())
    assert list(teacher.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert net[1].running_mean is not None


def test_a_quarter_turn_only_of_squares():
    generator = torch.Generator().manual_seed(0)
    assert {draw_turns(8, 8, generator) for _ in range(50)} == {0, 1, 2, 3}
    assert {draw_turns(8, 6, generator) for _ in range(50)} == {0, 2}


def test_a_turn_moves_pixels_without_changing_them():
    values = torch.arange(6).view(1, 2, 3)
    assert turned(values, 2).tolist() == [[[5, 4, 3], [2, 1, 0]]]
    assert torch.equal(turned(turned(values, 2), 2), values)


def test_noise_is_cut_at_two_deviations():
    image = torch.zeros(4, 1, 64, 64)
    noise = noisy(image, 0.1, torch.Generator().manual_seed(0))
    assert noise.abs().max().item() == pytest.approx(0.2) and 0.08 < noise.std().item() < 0.1
    assert not image.any()


def test_the_squared_difference_by_hand():
    student, teacher = torch.tensor([[[[1.0, 0.5]], [[0.0, 0.5]]]]), torch.tensor([[[[0.5, 0.0]], [[0.5, 1.0]]]])
    assert squared_difference(student, teacher, torch.tensor([[[True, False]]])).item() == 0.5
    assert squared_difference(student, teacher, torch.tensor([[[False, False]]])).item() == 0.0
    student[..., 1] = teacher[..., 1]
    assert squared_difference(student, teacher, torch.tensor([[[True, True]]])).item() == 0.25
