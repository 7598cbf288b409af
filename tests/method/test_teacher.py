"""The teacher's labels: strokes, certainty, what strokes leave possible, and stray pieces."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from compare.contract import make_plan, make_source
from torch import nn

from pclmix.data.strokes import Ring
from pclmix.labels import IGNORE
from pclmix.method.teacher import Teacher


class ByBrightness(nn.Module):
    """Class k where the image is about k / 3, surer the nearer; a parameter, so that it has a device and a type."""

    def __init__(self):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(400.0))

    def forward(self, x):
        levels = torch.arange(3.0).view(1, 3, 1, 1) / 3
        return -self.sharpness * (x.float() - levels).square()


@pytest.fixture
def taught(monkeypatch):
    """A function that gives a teacher's labels of a source, its network seeing brightness alone."""
    monkeypatch.setattr("pclmix.method.teacher.for_inference", lambda net, device: net)

    def teach(source, progress=0.5):
        teacher = Teacher(source, source.plan)
        assert all((label == IGNORE).all() for label in teacher.labels)
        teacher.teach(ByBrightness(), progress)
        return teacher.labels

    return teach


def plain_source():
    """The contract's slices without noise: bars of brightness k / 3."""
    plan = make_plan().model_copy(update={"mirror": False})
    source = make_source(plan)
    source.cases = [replace(case, image=(case.dense[:, None] / 3).astype(np.float16)) for case in source.cases]
    return source


def test_labels_are_those_of_the_network_where_it_is_sure(taught):
    source = plain_source()
    for place, label in enumerate(taught(source)):
        assert (label == source.dense(place)).all()


def test_a_stroke_goes_before_the_network(taught):
    source = plain_source()
    drawn = source.cases[0].label.copy()
    drawn[1, 20:22, 3:9] = 2
    source.cases = [replace(source.cases[0], label=drawn), source.cases[1]]
    label = taught(source)[1]
    assert (label[20:22, 3:9] == 2).all()


def test_what_is_uncertain_stays_open(taught):
    source = plain_source()
    image = source.cases[0].image.copy()
    image[0, 0, 12:16, 3:6] = 0.5  # half-way between two classes
    source.cases = [replace(source.cases[0], image=image), source.cases[1]]
    label = taught(source, progress=0.0)[0]
    assert (label[12:16, 3:6] == IGNORE).all()
    assert (label[12:16, 7:9] != IGNORE).all()


def test_what_strokes_rule_out_is_no_label(taught):
    source = plain_source()
    undrawn = source.cases[0].label.copy()
    undrawn[0][undrawn[0] == 2] = IGNORE
    source.cases = [replace(source.cases[0], label=undrawn), source.cases[1]]
    source.present[0, 2] = False
    # Background beyond row 16: outward normal along the rows.
    source.rings[1] = Ring(np.array([[1, 0, -16 * source.plan.spacing[0]]], np.float32), 0.1)
    labels = taught(source)
    assert not (labels[0] == 2).any() and (labels[0] == 1).any()
    assert (labels[1][17:][source.strokes(1)[17:] == IGNORE] == 0).all() and (labels[1][:17] > 0).any()


def test_a_stray_piece_is_left_open_where_the_strokes_show_one_piece(taught):
    source = plain_source()
    image = source.cases[0].image.copy()
    image[1, 0, 29:31, 1:3] = 1 / 3
    source.cases = [replace(source.cases[0], image=image), source.cases[1]]
    label = taught(source)[1]
    assert (label[29:31, 1:3] == IGNORE).all()
    other = label.copy()
    other[29:31, 1:3] = 0
    assert (other == source.dense(1)).all()


def test_two_pieces_with_strokes_on_both_are_kept(taught):
    source = plain_source()
    cases = []
    for case in source.cases:
        image, label = case.image.copy(), case.label.copy()
        image[1, 0, 29:31, 1:3] = 1 / 3
        label[1, 29:31, 1:3] = 1
        cases.append(replace(case, image=image, label=label))
    source.cases = cases
    assert (taught(source)[1][29:31, 1:3] == 1).all()


def test_the_time_of_a_lesson_is_estimated():
    teacher = Teacher(plain_source(), plain_source().plan)
    assert teacher.seconds(torch.device("cpu")) > 0
    assert teacher.lessons == 0 and all((label == IGNORE).all() for label in teacher.labels)
