"""A network's own labels: possible by the strokes, in one piece, drawn to edges, and brought to the plan's grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pclmix.compare.base import Learnt
from pclmix.config import make_settings
from pclmix.data.batches import BatchSource
from pclmix.data.cache import build_cache
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import read_dataset
from pclmix.data.plan import make_plan
from pclmix.infer import predict_slices
from pclmix.labels import IGNORE
from pclmix.method.own_labels import expected_seconds, own_labels, vouched_for


class Says(torch.nn.Module):
    """Logits of one class everywhere, and of another in a corner."""

    def __init__(self, classes, everywhere, corner):
        super().__init__()
        self.classes, self.everywhere, self.corner = classes, everywhere, corner
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        logits = torch.zeros(len(image), self.classes, *image.shape[2:])
        logits[:, self.everywhere] = 5
        logits[:, self.corner, :4, :4] = 9
        return logits


@pytest.fixture
def known(phantom):
    """A data set, its cases, and their slices as a run sees them."""
    settings = make_settings("cpu", ("planner.strokes=complete", "planner.rings=on", "planner.spacing=2.5"))
    dataset = read_dataset(phantom)
    cases = [case for case in dataset.cases if case.label is not None][:3]
    plan = make_plan(fingerprint(dataset, cases, settings.planner), dataset, settings)
    cached = build_cache(dataset, cases, plan, dense=True)
    return dataset, cases, BatchSource(cached, plan, settings.augment, settings.train, 0)


def learnt(known, everywhere=0, corner=0, components=()):
    dataset, cases, source = known
    net = Says(len(source.plan.classes), everywhere, corner)
    return Learnt(net, torch.device("cpu"), components, dataset, cases)


def test_strokes_keep_what_they_say(known):
    source = known[2]
    labels = own_labels(learnt(known), source)
    assert len(labels) == len(source.slices)
    for place, label in enumerate(labels):
        strokes = source.strokes(place)
        assert label.shape == strokes.shape and label.dtype == np.uint8
        np.testing.assert_array_equal(label[strokes != IGNORE], strokes[strokes != IGNORE])
        assert not label[strokes == IGNORE].any()


def test_what_strokes_rule_out_is_not_said(known):
    source = known[2]
    labels = own_labels(learnt(known, everywhere=2), source)
    said = 0
    for place, label in enumerate(labels):
        possible = source.possible(place)
        open_ = source.strokes(place) == IGNORE
        # Probabilities pass through the image's grid, so the line between possible and not may lie a pixel aside.
        assert ((label == 2) & ~possible[2] & open_).sum() <= 0.02 * label.size
        said += int((label == 2).sum())
        if not possible[2].any():
            assert not (label == 2).any()
    assert said > 0


def test_of_a_structure_in_one_piece_the_largest_counts(known, monkeypatch):
    monkeypatch.setattr("pclmix.method.own_labels.vouched_for", lambda labels, *_: labels)
    source = known[2]
    free = BatchSource(
        source.cases,
        source.plan.model_copy(update={"complete_strokes": False, "rings": False}),
        source.augment,
        source.train,
        0,
    )
    known = (*known[:2], free)
    for components, stays in (((), True), (((1, 2),), False)):
        found = own_labels(learnt(known, everywhere=0, corner=1, components=components), free)
        assert any(label[0, 0] == 1 for label in found)  # all there is: it is the largest
        net = Both(len(free.plan.classes))
        found = own_labels(learnt(known, components=components)._replace(net=net), free)
        assert any(label[0, 0] == 1 for label in found) == stays


class Both(Says):
    """A piece in a corner, and a larger one elsewhere."""

    def __init__(self, classes):
        super().__init__(classes, 0, 1)

    def forward(self, image):
        logits = super().forward(image)
        logits[:, 1, 8:, 8:] = 9
        return logits


@pytest.mark.parametrize("unlabelled_from", ["cases", "slices"])
def test_pieces_hang_together_in_the_volume_not_in_the_row_of_its_annotated_slices(known, monkeypatch, unlabelled_from):
    """A tube runs aslant through all slices; between annotated ones two slices apart it seems to be in pieces."""
    for name in ("vouched_for", "draw_to_edges"):
        monkeypatch.setattr(f"pclmix.method.own_labels.{name}", lambda labels, *_: labels)
    dataset, cases, source = known
    strokes = np.array(source.cases[0].label)
    strokes[1::2] = IGNORE
    sparse = replace(source.cases[0], label=strokes)
    plan = source.plan.model_copy(update={"complete_strokes": False, "rings": False, "turn": 0})
    train = source.train.model_copy(update={"unlabelled_from": unlabelled_from})
    sliced = BatchSource([sparse], plan, source.augment, train, 0, unlabelled=[])
    net = Tube(len(plan.classes), torch.from_numpy(np.array(sparse.image)).float())
    labels = own_labels(Learnt(net, torch.device("cpu"), ((1,),), dataset, cases), sliced)
    assert len(labels) == (len(strokes) if unlabelled_from == "slices" else len(strokes[::2]))
    for place, label in enumerate(labels):
        index = sliced.slices[place][1]
        free = sliced.strokes(place) == IGNORE
        assert (label[free] == 1).sum() >= 0.9 * net.inside(index)[free].sum() > 0


class Tube(Says):
    """Class 1 where a tube cuts the slice, which is known by its image: all rows of the first, two of the others."""

    def __init__(self, classes, slices):
        super().__init__(classes, 0, 0)
        self.slices = slices

    def inside(self, index):
        mask = np.zeros(self.slices.shape[2:], bool)
        mask[: None if index == 0 else 2, 3 * index : 3 * index + 4] = True
        return mask

    def forward(self, image):
        logits = super().forward(image)
        for item, shown in enumerate(image):
            index = int((self.slices - shown).abs().mean(dim=(1, 2, 3)).argmin())
            logits[item, 1][torch.from_numpy(self.inside(index))] = 20
        return logits


def test_labels_are_the_mean_over_the_copies_that_the_plan_asks_for(known, monkeypatch):
    asked = []

    def spy(net, slices, device, plan=None):
        asked.append(plan)
        return predict_slices(net, slices, device, plan)

    monkeypatch.setattr("pclmix.method.own_labels.predict_slices", spy)
    own_labels(learnt(known), known[2])
    assert known[2].plan.turn == 20 and asked == [known[2].plan] * len(known[1])


def test_the_edges_are_those_of_the_image_file(known, monkeypatch):
    """Borders are drawn in the finer grid of the file: a stand-in sees its shape, and pixels in the plan's measure."""
    dataset, cases, source = known
    seen = []

    def spy(labels, image, strokes, uniform, pixel):
        seen.append((labels.shape, image.shape, strokes.shape, uniform, pixel))
        return np.full_like(labels, 1)

    monkeypatch.setattr("pclmix.method.own_labels.draw_to_edges", spy)
    labels = own_labels(learnt(known), source)
    facts = {fact.shape[1:]: fact.spacing for fact in fingerprint(dataset, cases, make_settings("cpu").planner).cases}
    assert len(seen) == len(cases) and len(facts) > 1
    for shape, image, strokes, uniform, pixel in seen:
        assert shape == strokes == (image[0], *image[2:])
        assert uniform in (1, 2, 3)
        _, row, column = facts[shape[1:]]
        assert pixel == pytest.approx((row / 2.5, column / 2.5), rel=1e-3)
    for place, label in enumerate(labels):
        assert (label[source.strokes(place) == IGNORE] == 1).all()


def test_a_piece_that_no_stroke_vouches_for_is_left_open():
    """Pieces hang together across classes and slices, so one stroke vouches for all that touches its piece."""
    labels = np.zeros((3, 8, 12), np.uint8)
    labels[:2, 1:4, 1:4], labels[:2, 1:4, 4:6] = 1, 2  # one piece of two classes in two slices
    labels[:, 5:7, 8:11] = 1  # another, all the way through
    strokes = np.full_like(labels, IGNORE)
    strokes[0, 2, 2] = 1
    strokes[2, 6, 8:10] = 0  # background says nothing for a piece
    out = vouched_for(labels, strokes)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[:, :5], labels[:, :5])
    assert (out[:, 5:7, 8:11] == IGNORE).all()
    assert (out[:, 5:7, 8:11] == IGNORE).sum() == (out != labels).sum()
    strokes[0, 2, 2] = IGNORE
    np.testing.assert_array_equal(vouched_for(labels, strokes), labels)  # nobody drew a structure here


@pytest.mark.parametrize("complete", [True, False])
def test_where_rings_tell_what_lies_far_off_nobody_asks_for_strokes_in_a_piece(known, monkeypatch, complete):
    source = known[2]
    for rings in (False, True):
        plan = source.plan.model_copy(update={"complete_strokes": complete, "rings": rings})
        free = BatchSource(source.cases, plan, source.augment, source.train, 0)
        with monkeypatch.context() as patch:
            if rings:
                patch.setattr("pclmix.method.own_labels.vouched_for", None)
            labels = own_labels(learnt((*known[:2], free), corner=1), free)
        corners = {int(label[0, 0]) for label in labels}
        assert 1 in corners if rings else 1 not in corners and IGNORE in corners


def test_slices_and_cases_that_nobody_annotated_get_labels_too(known):
    """Theirs come last, in the order of their places, though those of a case are labelled together."""
    dataset, cases, source = known
    bare = replace(dataset.cases[3], label=None)
    half = source.cases[0]
    strokes = np.array(half.label)
    strokes[1::2] = IGNORE
    first = replace(half, label=strokes)
    (unlabelled,) = build_cache(dataset, [bare], source.plan)
    mixed = BatchSource(
        [first, *source.cases[1:]], source.plan, source.augment, source.train, 0, unlabelled=[unlabelled]
    )
    net = ByColumn(len(source.plan.classes))
    labels = own_labels(Learnt(net, torch.device("cpu"), (), dataset, [*cases, bare]), mixed)
    assert len(labels) == len(mixed.slices) > len(source.slices)
    for place, label in enumerate(labels):
        strokes = mixed.strokes(place)
        assert label.shape == strokes.shape and (label[strokes != IGNORE] == strokes[strokes != IGNORE]).all()
        if mixed.kinds[place] == "unlabelled":
            assert label.max() == 1


class ByColumn(Says):
    """Class 1 in the left half."""

    def __init__(self, classes):
        super().__init__(classes, 0, 1)

    def forward(self, image):
        logits = super().forward(image)
        logits[:, 1, :, : image.shape[3] // 2] = 9
        return logits


def test_the_time_is_estimated_with_labels_round_their_strokes(known, monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("pclmix.method.own_labels.time.perf_counter", lambda: next(clock))
    sampled = []
    monkeypatch.setattr(
        "pclmix.method.own_labels.draw_to_edges", lambda labels, *_: sampled.append(np.unique(labels)) or labels
    )
    assert expected_seconds(learnt(known), known[2]) == pytest.approx(2.5 * 3 / 2)  # two of three cases are tried
    assert len(sampled) == 2 and all(len(classes) > 2 for classes in sampled)
