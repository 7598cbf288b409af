"""Rings of background strokes: found only where they surround, and nothing inside is ruled out."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from pclmix.data.strokes import MARGIN, beyond, find_ring
from pclmix.labels import IGNORE


def ring_slice(size=80, radius=20, spacing=(1.0, 1.0)):
    """A disc of structure's stroke in the middle of a circle of background strokes; `radius` in mm."""
    strokes = np.full((size, size), IGNORE, np.uint8)
    y, x = (np.indices((size, size)) - size / 2) * np.array(spacing)[:, None, None]
    strokes[np.abs(np.hypot(y, x) - radius) < 0.8] = 0
    strokes[np.hypot(y, x) < 3] = 1
    return strokes, np.hypot(y, x)


def margin(strokes, spacing):
    """How far a structure may reach beyond the background strokes, mm."""
    return MARGIN * np.sqrt(ConvexHull(np.argwhere(strokes == 0) * spacing).volume)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_everything_well_outside_the_ring_is_beyond_and_nothing_inside(spacing):
    strokes, distance = ring_slice(spacing=spacing)
    ring = find_ring(strokes, spacing)
    assert ring is not None
    room = margin(strokes, spacing)
    assert room == pytest.approx(MARGIN * np.sqrt(np.pi) * 20.5, rel=0.05)
    mask = beyond(ring, slice(0, 80), slice(0, 80))
    assert not mask[distance < 20 + room - 1.5].any()
    assert mask[distance > 21.5 + room + 1].all() and mask.any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_beyond_is_outside_the_hull_by_more_than_the_margin(spacing):
    strokes = np.full((40, 50), IGNORE, np.uint8)
    corners = [(5, 5), (5, 40), (22, 46), (35, 30), (30, 3)]  # one edge along a row, the others at a slant
    for corner in corners:
        strokes[corner] = 0
    strokes[20, 20] = 1
    ring = find_ring(strokes, spacing)
    points = np.array(corners) * spacing
    away = np.full(strokes.shape, -np.inf)
    for (y, x), (next_y, next_x) in zip(points, np.roll(points, -1, axis=0), strict=True):
        length = np.hypot(next_y - y, next_x - x)
        row, column = np.indices(strokes.shape) * np.array(spacing)[:, None, None]
        away = np.maximum(away, ((next_y - y) * (column - x) - (next_x - x) * (row - y)) / length)
    mask = beyond(ring, slice(0, 40), slice(0, 50))
    np.testing.assert_array_equal(mask, away > margin(strokes, spacing))
    assert mask[0].all() and not mask[20, 20] and 0.2 < mask.mean() < 0.8


def test_a_part_of_the_slice_is_that_part_of_the_mask():
    strokes, _ = ring_slice()
    ring = find_ring(strokes, (1.0, 1.0))
    whole = beyond(ring, slice(0, 80), slice(0, 80))
    np.testing.assert_array_equal(beyond(ring, slice(5, 40), slice(30, 80)), whole[5:40, 30:])


def test_no_ring_where_background_lies_on_one_side_on_a_line_or_nowhere():
    strokes, _ = ring_slice()
    half = strokes.copy()
    half[:45][half[:45] == 0] = IGNORE
    assert find_ring(half, (1, 1)) is None
    line = np.where(strokes == 0, IGNORE, strokes)
    assert find_ring(line, (1, 1)) is None
    line[10] = 0
    assert find_ring(line, (1, 1)) is None
    only_background = np.where(strokes == 1, IGNORE, strokes)
    assert find_ring(only_background, (1, 1)) is None
