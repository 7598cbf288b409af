"""Kinds of slices: by how much is annotated, and how small the blobs are."""

import numpy as np
import pytest

from pclmix.config import Plan
from pclmix.data.cache import build_cache, cache_folder
from pclmix.data.folder import read_dataset
from pclmix.data.kinds import kind_of
from pclmix.errors import InputError
from pclmix.labels import IGNORE


def empty(side=100):
    return np.full((side, side), IGNORE, np.uint8)


def test_a_slice_that_nobody_annotated():
    assert kind_of(empty()) == "unlabelled"


@pytest.mark.parametrize(("left_out", "kind"), [(0, "dense"), (5, "dense"), (6, "scribble")])
def test_dense_but_for_a_margin(left_out, kind):
    strokes = np.zeros((100, 100), np.uint8)
    strokes[40:60, 40:60] = 2
    strokes[:left_out] = IGNORE
    assert kind_of(strokes) == kind


def test_clicks_are_points_and_one_stroke_among_them_makes_a_scribble():
    strokes = empty()
    strokes[10, 10] = 0
    strokes[50:53, 50:53] = 1
    strokes[53:56, 50:53] = 2  # touches the other, but is another class
    assert kind_of(strokes) == "point"
    strokes[np.arange(80, 84), np.arange(20, 24)] = 0  # a slanting stroke of four pixels
    assert kind_of(strokes) == "scribble"


@pytest.mark.parametrize(("side", "kind"), [(100, "scribble"), (400, "point")])
def test_a_dab_is_a_point_where_it_is_small_for_its_slice(side, kind):
    strokes = empty(side)
    strokes[30:38, 30:37] = 1
    assert kind_of(strokes) == kind


def test_the_rare_class_may_be_the_stroke():
    strokes = empty()
    strokes[10:90:10, 10:90:10] = 1
    strokes[5, 5:12] = 0
    assert kind_of(strokes) == "scribble"


def test_resampling_does_not_make_points_of_strokes(phantom):
    dataset = read_dataset(phantom)
    plan = Plan(
        channels=("MR",), classes=dataset.classes, spacing=(12.0, 12.0), crop=(32, 32), batch=4, intensity=("zscore",)
    )
    for _ in range(2):  # found, then read again
        cached = build_cache(dataset, dataset.cases, plan)
        assert all(case.kinds == ("scribble",) * 8 for case in cached)
    assert "point" in [kind_of(strokes) for case in cached for strokes in case.label]
    path = cache_folder() / f"{cached[0].key}_kinds.json"
    path.write_text("[")
    with pytest.raises(InputError, match=r"kinds.json: damaged"):
        build_cache(dataset, dataset.cases, plan)
    path.unlink()
