"""Less annotation: the share that is kept, nothing invented, the same for the same seed."""

import json

import numpy as np
import pytest

from pclmix.data.effort import shorten, thin_dataset
from pclmix.data.folder import read_dataset, read_scribble
from pclmix.labels import IGNORE


def annotated(folder):
    dataset = read_dataset(folder)
    return {case.id: np.moveaxis(read_scribble(dataset, case).array, -1, 0) for case in dataset.cases}


@pytest.fixture(scope="module")
def cases(phantom):
    return [case.id for case in read_dataset(phantom).cases if case.patient == "heart001"]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_share_of_the_slices_keeps_its_strokes_and_the_others_lose_them(phantom, cases, tmp_path, share):
    thinned = annotated(thin_dataset(read_dataset(phantom), cases, tmp_path / "out", "slices", share, 3))
    whole = annotated(phantom)
    assert set(thinned) == set(cases)
    before = after = 0
    for case in cases:
        for old, new in zip(whole[case], thinned[case], strict=True):
            assert (new == old).all() or (new == IGNORE).all()
            before += (old != IGNORE).any()
            after += (new != IGNORE).any()
    assert after == round(share * before)


def test_a_share_of_the_pixels_shortens_every_stroke(phantom, cases, tmp_path):
    thinned = annotated(thin_dataset(read_dataset(phantom), cases, tmp_path / "out", "pixels", 0.3, 3))
    whole = annotated(phantom)
    for case in cases:
        for old, new in zip(whole[case], thinned[case], strict=True):
            assert (new[new != IGNORE] == old[new != IGNORE]).all()
            for label in np.setdiff1d(np.unique(old), [IGNORE]):
                assert (new == label).sum() == max(1, round(0.3 * (old == label).sum()))


def test_a_shortened_stroke_is_a_piece_of_it():
    strokes = np.full((3, 20), IGNORE, np.uint8)
    strokes[1] = 2
    kept = shorten(strokes, 0.25, np.random.default_rng(0))[1] == 2
    assert kept.sum() == 5 and np.ptp(np.flatnonzero(kept)) == 4


def test_the_same_seed_keeps_the_same(phantom, cases, tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    found = [
        annotated(thin_dataset(read_dataset(phantom), cases, folder, "slices", 0.5, seed))
        for folder, seed in zip(folders, (1, 1, 2), strict=True)
    ]
    assert all((found[0][case] == found[1][case]).all() for case in cases)
    assert any((found[0][case] != found[2][case]).any() for case in cases)


def test_files_keep_the_ending_of_their_data_set(unpacked, phantom, cases, tmp_path):
    out = tmp_path / "out"
    thinned = annotated(thin_dataset(read_dataset(unpacked), cases, out, "slices", 0.5, 3))
    expected = annotated(thin_dataset(read_dataset(phantom), cases, tmp_path / "packed", "slices", 0.5, 3))
    assert all((thinned[case] == expected[case]).all() for case in cases)
    assert json.loads((out / "dataset.json").read_text())["file_ending"] == ".nii"
