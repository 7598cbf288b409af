"""PCLMix without the published parts: what is learnt from, and when that form is in force."""

import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import m5

from pclmix.compare.full import FullSupervision
from pclmix.config import PCLMixSettings, make_settings
from pclmix.errors import InputError
from pclmix.method.pclmix import PCLMix
from pclmix.method.sparing import SparingPCLMix


class TestSparingPCLMix(MethodContract):
    name = "pclmix"

    @property
    def method(self):
        return SparingPCLMix

    def test_strokes_alone_where_everything_is_possible(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.5, torch.Generator())
        expected = m5(net(batch.image).detach().numpy(), batch.scribble.numpy(), batch.valid.numpy())
        assert losses.terms["absent"] == 0
        assert losses.total.item() == pytest.approx(expected, rel=1e-4)

    def test_what_strokes_rule_out_costs_by_its_weight(self):
        plan = make_plan()
        batch = make_source(plan).batch(0)
        batch.possible[:, 1] = False
        for weight in (0.0, 2.0):
            torch.manual_seed(0)
            made = SparingPCLMix(SparingPCLMix.network(plan), plan, PCLMixSettings(absence=weight))
            losses = made.losses(batch, 0.5, torch.Generator())
            assert losses.terms["absent"] > 0
            expected = float(losses.terms["supervised"] + weight * losses.terms["absent"])
            assert losses.total.item() == pytest.approx(expected, rel=1e-5)

    def test_the_picture_shows_what_is_ruled_out(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        with torch.no_grad():
            net.decoder.head.bias[1] += 50  # sure of class 1 everywhere
        batch.possible[:, 1] = False
        panels = made.picture(batch, 0.5, torch.Generator())
        assert (panels["prediction"] == 1).all() and not (panels["possible prediction"] == 1).any()

    def labelled(self, plan, source):
        made, net = self.make(plan, source=source)
        made.labels = [np.array(source.dense(place)) for place in range(len(source.slices))]
        return made, net

    def test_once_there_are_own_labels_it_learns_from_those_as_from_dense_ones(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.labelled(plan, source)
        batch = source.batch(0)
        torch.manual_seed(0)
        full = FullSupervision(net, plan, FullSupervision.OwnSettings())
        full.prepare(source)
        ours, dense = (m.losses(batch, 0.8, torch.Generator()) for m in (made, full))
        assert torch.equal(ours.total, dense.total)
        assert ours.terms["dice"] > 0 and ours.terms["absent"] == 0
        assert made.losses(batch, 0.1, torch.Generator()).terms.keys() == ours.terms.keys()

    def test_own_labels_are_restored(self):
        plan = make_plan()
        source = make_source(plan)
        made, _ = self.labelled(plan, source)
        other, _ = self.make(plan, source=source)
        assert other.state_dict() == {}
        other.load_state_dict(made.state_dict())
        assert len(other.labels) == len(source.slices)
        for mine, theirs in zip(made.labels, other.labels, strict=True):
            np.testing.assert_array_equal(mine, theirs)

    def test_its_picture_shows_a_whole_label_where_nothing_was_imaged_too(self):
        """IGNORE would be drawn as what nobody looked at, and all background round it as strokes."""
        plan = make_plan()
        source = make_source(plan)
        made, _ = self.labelled(plan, source)
        batch = source.plain_batch(0)
        assert not batch.valid.all()
        panel = made.picture(batch, 0.8, torch.Generator())["own label"]
        assert panel.max() == 2 and (panel[~batch.valid] == 0).all()

    @pytest.mark.parametrize(("share", "step"), [(0.6, 6), (0.04, 0), (0.96, None), (1.0, None)])
    def test_when_it_looks_back(self, share, step):
        plan = make_plan()
        made = SparingPCLMix(SparingPCLMix.network(plan), plan, PCLMixSettings(own_labels=share))
        assert made.pause_at(10) == step


def test_it_takes_the_place_of_pclmix_where_that_is_set():
    for preset, form in (("cpu", SparingPCLMix), ("gpu", SparingPCLMix), ("paper", PCLMix)):
        assert PCLMix.in_force(make_settings(preset)) is form
    assert PCLMix.in_force(make_settings("cpu", ("method.sparing=false",))) is PCLMix


@pytest.mark.parametrize("override", ["mix=false", "auxiliary=0.2", "queue=10"])
def test_what_is_left_out_cannot_be_set(override):
    name = override.split("=")[0]
    with pytest.raises(InputError, match=rf"method pclmix: {name}: no effect .* expected method.sparing=false"):
        PCLMix.configured(make_settings("cpu", (f"method.{override}",)))
    PCLMix.configured(make_settings("cpu", (f"method.{override}", "method.sparing=false")))


WHOLE = "method.sparing=false"


@pytest.mark.parametrize(
    ("more", "since"),
    [
        ((WHOLE,), 0.0),
        ((WHOLE, "method.mix=false", "method.contrast=false", "method.consistency=false"), 0.6),
        ((), 0.6),
        (("method.own_labels=0.3",), 0.3),
        (("method.own_labels=1",), None),
    ],
)
def test_strokes_alone_say_nothing_of_an_unlabelled_slice_but_own_labels_do(more, since):
    settings = make_settings("cpu", more)
    assert PCLMix.in_force(settings).unlabelled_since(settings) == since
