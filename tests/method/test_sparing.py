"""Where strokes say enough: what is learnt from, and when averaged weights label the training slices."""

import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import m5

from pclmix.config import PCLMixSettings, make_settings
from pclmix.labels import IGNORE
from pclmix.method.pclmix import PCLMix
from pclmix.method.sparing import SparingPCLMix, lessons_due


class TestSparingPCLMix(MethodContract):
    name = "pclmix"

    @property
    def method(self):
        return SparingPCLMix

    def test_strokes_alone_before_the_first_lesson(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.49, torch.Generator())
        expected = m5(net(batch.image).detach().numpy(), batch.scribble.numpy(), batch.valid.numpy())
        assert set(losses.terms) == {"supervised", "absent"} and losses.terms["absent"] == 0
        assert losses.total.item() == pytest.approx(expected, rel=1e-4)

    def test_what_strokes_rule_out_costs(self):
        plan = make_plan()
        made, _ = self.make(plan)
        batch = make_source(plan).batch(0)
        batch.possible[:, 1] = False
        losses = made.losses(batch, 0.2, torch.Generator())
        assert losses.terms["absent"] > 0
        assert losses.total.item() == pytest.approx(sum(float(term) for term in losses.terms.values()), rel=1e-5)

    def test_the_labels_of_a_lesson_are_learnt_from(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        made.before_step(net, 0.5)
        for label in made.teacher.labels:
            label[:] = 2
        batch = source.batch(0)
        losses = made.losses(batch, 0.5, torch.Generator())
        target = torch.where(batch.valid, 2, IGNORE)
        expected = m5(net(batch.image).detach().numpy(), target.numpy(), batch.valid.numpy())
        assert losses.terms["taught"].item() == pytest.approx(expected, rel=1e-4)
        assert losses.total.item() == pytest.approx(sum(float(term) for term in losses.terms.values()), rel=1e-5)
        assert losses.terms["dice"] > 0

    def test_lessons_come_when_they_are_due_and_once(self, monkeypatch):
        plan = make_plan()
        made, net = self.make(plan)
        given = []
        monkeypatch.setattr(made.teacher, "_label", lambda: given.append(made.teacher.progress))
        for step in range(20):
            made.before_step(net, step / 20)
        assert given == [0.5, 0.75]

    def test_a_lesson_survives_a_resume(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        self.train(made, net, source.batch(0), 12)
        made.before_step(net, 0.6)
        other, other_net = self.make(plan, seed=9, source=source)
        other_net.load_state_dict(net.state_dict())
        other.load_state_dict({name: value.clone() for name, value in made.state_dict().items()})
        assert any((label != IGNORE).any() for label in made.teacher.labels)
        assert all((a == b).all() for a, b in zip(made.teacher.labels, other.teacher.labels, strict=True))
        self.train(other, other_net, source.batch(1), 2)
        before = [label.copy() for label in other.teacher.labels]
        other.before_step(other_net, 0.7)
        assert all((a == b).all() for a, b in zip(before, other.teacher.labels, strict=True))  # no lesson is due

    def test_the_picture_shows_the_taught_label(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        batch = source.plain_batch(0)
        assert (made.picture(batch, 0.5, torch.Generator())["taught label"] == IGNORE).all()
        made.before_step(net, 0.5)
        panels = made.picture(batch, 0.5, torch.Generator())
        assert (panels["taught label"] != IGNORE).any()
        net.eval()
        assert (panels["prediction"].numpy() == net(batch.image).detach().numpy().argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("taught", "lessons", "expected"),
    [
        (0.5, 2, {0.0: 0, 0.49: 0, 0.5: 1, 0.74: 1, 0.75: 2, 1.0: 2}),
        (0.0, 1, {0.0: 1, 0.99: 1, 1.0: 1}),
        (1.0, 2, {0.0: 0, 1.0: 0}),
    ],
)
def test_lessons_due(taught, lessons, expected):
    settings = PCLMixSettings(taught=taught, lessons=lessons)
    assert {progress: lessons_due(progress, settings) for progress in expected} == expected


def test_it_takes_the_place_of_pclmix_for_complete_strokes_with_rings_alone():
    sparing, whole = make_settings("cpu"), make_settings("cpu", ("method.sparing=false",))
    for complete in (False, True):
        for rings in (False, True):
            plan = make_plan().model_copy(update={"complete_strokes": complete, "rings": rings})
            expected = SparingPCLMix if complete and rings else PCLMix
            assert PCLMix.in_force(plan, sparing) is expected
            assert PCLMix.in_force(plan, whole) is PCLMix
    plan = make_plan().model_copy(update={"complete_strokes": True, "rings": True})
    assert not PCLMix.in_force(plan, sparing).uses_unlabelled(plan, sparing)
