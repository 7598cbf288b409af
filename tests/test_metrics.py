"""Dice and HD95 against MedPy and by hand."""

import numpy as np
import pytest
from medpy.metric import binary
from scipy import ndimage

from pclmix.metrics import bounding_box, dice, hd95


def blobs(seed):
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=(14, 25, 22)), 2)
    other = field + 0.4 * ndimage.gaussian_filter(random.normal(size=field.shape), 2)
    return field > 0.05, other > 0.05


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_medpy(seed):
    a, b = blobs(seed)
    spacing = (8.0, 1.3, 0.7)
    assert hd95(a, b, spacing) == pytest.approx(binary.hd95(a, b, voxelspacing=spacing), abs=1e-6)
    assert dice(a, b) == pytest.approx(binary.dc(a, b), abs=1e-12)


def test_equal_to_medpy_in_any_memory_order_and_far_apart():
    a, b = blobs(7)
    a[0, 0, 0] = b[13, 24, 21] = True
    for first, second in ((np.asfortranarray(a), b), (a.T, b.T), (a[:, ::2], b[:, ::2]), (a, ~a)):
        expected = binary.hd95(first, second, voxelspacing=(0.7, 1.3, 8.0))
        assert hd95(first, second, (0.7, 1.3, 8.0)) == pytest.approx(expected, abs=1e-6)


def test_boxes():
    mask = np.zeros((4, 5, 6), bool)
    assert bounding_box(mask) == (slice(0, 0),) * 3
    mask[1, 2, 3] = mask[3, 2, 5] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 3), slice(3, 6))


def test_structures_at_the_border_and_of_one_voxel():
    a, b = np.zeros((3, 8, 8), bool), np.zeros((3, 8, 8), bool)
    a[0, 0, 0] = b[2, 7, 7] = True
    expected = np.sqrt((2 * 5.0) ** 2 + 7**2 + 7**2)
    assert hd95(a, b, (5.0, 1.0, 1.0)) == pytest.approx(expected)
    assert dice(a, b) == 0


def test_empty_masks():
    nothing, something = np.zeros((2, 3, 3), bool), np.ones((2, 3, 3), bool)
    assert (dice(nothing, nothing), hd95(nothing, nothing, (1, 1, 1))) == (1.0, 0.0)
    assert dice(nothing, something) == 0.0
    assert hd95(nothing, something, (1, 1, 1)) == hd95(something, nothing, (1, 1, 1)) == float("inf")
