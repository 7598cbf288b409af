"""Rings of background strokes: found only where they surround, and nothing inside is ruled out."""

import numpy as np
import pytest

from pclmix.data.strokes import MARGIN, beyond, find_ring
from pclmix.labels import IGNORE


def ring_slice(size=80, radius=20, spacing=(1.0, 1.0)):
    """A disc of structure's stroke in the middle of a circle of background strokes; `radius` in mm."""
    strokes = np.full((size, size), IGNORE, np.uint8)
    y, x = (np.indices((size, size)) - size / 2) * np.array(spacing)[:, None, None]
    strokes[np.abs(np.hypot(y, x) - radius) < 0.8] = 0
    strokes[np.hypot(y, x) < 3] = 1
    return strokes, np.hypot(y, x)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_everything_well_outside_the_ring_is_beyond_and_nothing_inside(spacing):
    strokes, distance = ring_slice(spacing=spacing)
    ring = find_ring(strokes, spacing)
    assert ring is not None
    assert ring.margin == pytest.approx(MARGIN * np.sqrt(np.pi) * 20.5, rel=0.05)
    mask = beyond(ring, slice(0, 80), slice(0, 80), spacing)
    assert not mask[distance < 20 + ring.margin - 1.5].any()
    assert mask[distance > 21.5 + ring.margin + 1].all() and mask.any()


def test_a_part_of_the_slice_is_that_part_of_the_mask():
    strokes, _ = ring_slice()
    ring = find_ring(strokes, (1.0, 1.0))
    whole = beyond(ring, slice(0, 80), slice(0, 80), (1.0, 1.0))
    np.testing.assert_array_equal(beyond(ring, slice(5, 40), slice(30, 80), (1.0, 1.0)), whole[5:40, 30:])


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
