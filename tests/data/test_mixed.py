"""One data set annotated in several ways: what is drawn of it, and what is taken for ruled out."""

from collections import Counter

import numpy as np
import pytest
import torch

from pclmix.config import AugmentSettings, Plan, TrainSettings
from pclmix.data.batches import BatchSource
from pclmix.data.cache import CachedCase
from pclmix.labels import IGNORE

STILL = AugmentSettings(flip=False, rotation=0, scale=0, gamma=0, contrast=0, brightness=0, noise=0, blur=0)
SIDE = 60


def case(name, *slices, side=SIDE):
    label = np.stack(slices)
    return CachedCase(name, name, np.ones((len(label), 1, side, side), np.float16), label, np.zeros_like(label))


def empty(side=SIDE):
    return np.full((side, side), IGNORE, np.uint8)


def scribble():
    """A stroke of class 1, and background drawn round it."""
    strokes = empty()
    strokes[20, 20:31] = strokes[30, 20:31] = strokes[20:31, 20] = strokes[20:31, 30] = 0
    strokes[25, 23:27] = 1
    return strokes


def points():
    """The same, of single pixels."""
    strokes = empty()
    strokes[[20, 20, 30, 30], [20, 30, 20, 30]] = 0
    strokes[25, 25] = 1
    return strokes


def dense():
    return np.where(scribble() == 1, 1, 0).astype(np.uint8)


def a_plan(**changes):
    values = {
        "channels": ("MR",), "classes": {"background": 0, "k": 1, "l": 2}, "spacing": (2.0, 2.0), "crop": (32, 32),
        "batch": 4, "intensity": ("zscore",), "complete_strokes": True, "rings": True,
    }  # fmt: skip
    return Plan(**(values | changes))


def a_source(without=(), plan=None, **train):
    cases = [case("a", scribble(), points(), dense(), empty()), case("b", scribble(), scribble())]
    return BatchSource(cases, plan or a_plan(), STILL, TrainSettings(**train), 3, unlabelled=without)


def images(count=3, side=SIDE):
    return [case(f"u{index}", *[empty(side)] * 4, side=side) for index in range(count)]


def test_the_kinds_by_place():
    source = a_source(images(1))
    assert source.kinds == ["scribble", "point", "dense", "scribble", "scribble"] + ["unlabelled"] * 4
    assert source.slices == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert (source.strokes(5) == IGNORE).all()


def test_a_method_that_does_not_use_them_never_sees_an_unlabelled_slice():
    source = a_source(None)
    assert "unlabelled" not in source.kinds and source.row.share == 0


def test_left_out_slices_count_as_unlabelled_only_where_that_is_asked_for():
    assert a_source().kinds.count("unlabelled") == 0
    asked = a_source(unlabelled_from="slices")
    assert asked.slices[-1] == (0, 3) and asked.kinds.count("unlabelled") == 1
    assert a_source(images(1), unlabelled_from="slices").slices[5:] == [(0, 3), (2, 0), (2, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize(("setting", "count", "share"), [(0.25, 3, 0.25), (0.9, 3, 12 / 17), (0.0, 3, 0.0)])
def test_the_share_is_the_setting_or_that_of_the_slices(setting, count, share):
    source = a_source(images(count), unlabelled=setting)
    assert source.row.share == share
    drawn = [source.kinds_drawn(source.batch(step)) for step in range(20)]
    assert np.mean([row.get("unlabelled", 0) for row in drawn]) == pytest.approx(share, abs=0.01)
    assert all(sum(row.values()) == pytest.approx(1) for row in drawn)
    alike = Counter(kind for row in drawn for kind in row if row[kind])
    assert alike["scribble"] > alike["dense"] > 0 and alike["point"]


def test_where_all_is_of_one_kind_there_is_no_fraction_to_log():
    source = BatchSource([case("b", scribble(), scribble())], a_plan(), STILL, TrainSettings(), 0, unlabelled=())
    assert source.kinds_drawn(source.batch(0)) == {}


def test_only_strokes_rule_anything_out():
    source = a_source(images(2), unlabelled=0.5)
    barred = {}
    for step in range(10):
        batch = source.batch(step)
        for place, possible, valid in zip(batch.origin.slices.tolist(), batch.possible, batch.valid, strict=True):
            barred.setdefault(source.kinds[place], []).append((~possible & valid).flatten(1).any(dim=1).tolist())
    assert barred.keys() == {"scribble", "point", "dense", "unlabelled"}
    assert all(rows == [False, True, True] for rows in barred["scribble"]), "1 beyond the ring, 2 everywhere"
    assert all(rows == [False, False, True] for rows in barred["dense"]), "2 is absent, and there is no ring"
    assert not np.any(barred["unlabelled"]) and not np.any(barred["point"])


def test_statistics_are_of_annotated_slices_alone_and_the_same_as_without_the_others():
    mixed, alone = a_source(images(), unlabelled=0.6), a_source(None)
    for index in range(6):
        ours, theirs = mixed.plain_batch(index), alone.plain_batch(index)
        assert torch.equal(ours.origin.slices, theirs.origin.slices) and torch.equal(ours.scribble, theirs.scribble)


def test_crops_of_an_unlabelled_slice_lie_where_strokes_lie_in_others():
    source = a_source(images(side=150), plan=a_plan(crop=(32, 32)), unlabelled=0.5, foreground=1.0)
    middles = []
    for step in range(20):
        batch = source.batch(step)
        unlabelled = batch.origin.slices >= 5
        middles.append(batch.origin.geometry.positions((32, 32))[unlabelled].mean(dim=(1, 2)))
    x, y = torch.cat(middles).T  # the strokes' centre is at (24.5, 25) of 60, so at 62 of 150; crops shift by up to 8
    assert (x - 62).abs().max() < 16 and (y - 63).abs().max() < 16 and x.std() > 2


def test_an_unlabelled_slice_has_no_dense_label():
    source = a_source(images(1))
    assert (source.dense(0) == 0).all() and (source.dense(6) == IGNORE).all()


def test_shares_of_ranks_end_to_end_are_the_batch():
    def source(**share):
        cases = [case("a", scribble(), points(), dense())]
        return BatchSource(cases, a_plan(batch=6), AugmentSettings(), TrainSettings(), 3, unlabelled=images(), **share)

    whole, shares = source(), [source(rank=rank, world=3) for rank in range(3)]
    for step in range(4):
        batch, parts = whole.batch(step), [share.batch(step) for share in shares]
        for name in ("image", "scribble", "valid", "possible"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name)), name
        kinds = [share.kinds_drawn(part) for share, part in zip(shares, parts, strict=True)]
        for kind, fraction in whole.kinds_drawn(batch).items():
            assert np.mean([row[kind] for row in kinds]) == pytest.approx(fraction)
