"""The sheet shows a few slices of a few cases upright, strokes in the colours of the legend."""

from pathlib import Path

import numpy as np
import pytest

from pclmix.data.grid import Geometry, Volume
from pclmix.data.importers.contact_sheet import CASES, Shown, chosen_cases, draw_sheet, slices_of
from pclmix.data.importers.meanings import as_told
from pclmix.labels import BACKGROUND_STROKE, colour


def test_cases_are_spread_evenly():
    assert chosen_cases(["a", "b"]) == ["a", "b"]
    many = [str(index) for index in range(100)]
    chosen = chosen_cases(many)
    assert len(chosen) == CASES and chosen[0] == "0" and chosen[-1] == "99" and chosen == sorted(chosen, key=int)


def test_slices_are_upright_and_those_with_a_stroke():
    geometry = Geometry((2.0, 1.0, 8.0), np.eye(3), np.zeros(3))  # axes to the right, front and head
    image, label = (Volume(np.zeros((6, 5, 9)), geometry, Path("a"), None) for _ in range(2))
    image.array[-1, -1, :] = 7  # right and front
    label.array[2, 2, 3:6] = 1
    shown = slices_of("a", [image], label)
    assert [one.title for one in shown] == [f"a\nslice {number} of 9" for number in (4, 5, 6)]
    assert shown[0].image.shape == (5, 6) and shown[0].image[0, 0] == 7
    assert shown[0].aspect == pytest.approx(0.5)  # a pixel 1 mm high and 2 mm wide


def legend(meanings, values):
    figure = draw_sheet([Shown("a", np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int16), 1.0)], meanings, values)
    (found,) = figure.legends
    tints = [handle.get_facecolor()[:3] for handle in found.legend_handles]
    return {text.get_text(): tint for text, tint in zip(found.get_texts(), tints, strict=True)}


def test_the_legend_names_values_and_their_colours():
    found = legend(as_told({"cell": 1, "nucleus": 2}, 0, 3), [0, 1, 2, 3])
    assert set(found) == {"0: unlabelled (uncoloured)", "1: cell", "2: nucleus", "3: background"}
    assert found["1: cell"] == pytest.approx(np.array(colour(1)) / 255)
    assert found["3: background"] == pytest.approx(np.array(BACKGROUND_STROKE) / 255)


def test_values_without_a_meaning_have_colours_of_their_own():
    found = legend(as_told(None, None, None), [0, 5, 7])
    assert set(found) == {"0: not said yet (uncoloured)", "5: not said yet", "7: not said yet"}
    assert found["5: not said yet"] != found["7: not said yet"]
