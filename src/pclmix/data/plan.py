"""The planner: from the fingerprint and the preset's compute budget to spacing, crop, batch and depth."""

import math

import numpy as np
from numpy.typing import NDArray

from pclmix.config import Plan, Settings
from pclmix.data.fingerprint import Fingerprint, intensity_rules
from pclmix.data.folder import Dataset
from pclmix.data.orientation import common
from pclmix.digits import significant

FIELD_OF_VIEW = 2.5
"""The field of view is this many times the extent of the annotated foreground: surroundings tell a structure from what
looks like it elsewhere, and are worth more than fine pixels where the budget allows only one. No more than the slice,
though: where structures lie all over it, there is nothing round it to show."""

ANISOTROPIC = 1.3
"""Row and column spacing are kept apart from this ratio on; below it one square pixel serves both."""

SMALLEST_CROP = 64

TURN = 0.8
"""How far copies of a slice are turned at a prediction, as a fraction of the farthest that crops are in training."""

FARTHEST_TURN = 20.0
"""Degrees at most, which is where the gain was measured; at 30 it was less even (docs/experiments.md)."""


def make_plan(prints: Fingerprint, dataset: Dataset, settings: Settings) -> Plan:
    """Derive the plan; what the user fixed in `settings.planner` is taken as it is.

    Spacing: the data set's median, or coarser where a crop within the pixel budget would else show less than the share
    `view` of the field of view: 2.5 times the extent (95th percentile) of the annotated foreground, or the slice if
    that is smaller.
    Crop: a square within the budget, no larger than the slices (95th percentile), a multiple of the coarsest stride.
    Depth: 5 levels, fewer while the coarsest feature would be under 4 pixels. Batch: the budget's.
    """
    budget = settings.planner
    square = math.isqrt(budget.pixels)
    sides = (budget.crop[0] or square, budget.crop[1] or square)
    sizes = np.array([case.shape[1:] for case in prints.cases]) * [case.spacing[1:] for case in prints.cases]
    size = np.percentile(sizes, 95, axis=0)
    derived = _spacing(prints, sides, size, budget.view)
    spacing = (budget.spacing[0] or derived[0], budget.spacing[1] or derived[1])
    depth = budget.depth or 5
    while not budget.depth and depth > 3 and min(sides) // 2 ** (depth - 1) < 4:
        depth -= 1
    multiple = 32 if settings.network.encoder != "plain" else 2 ** (depth - 1)
    crop = tuple(
        _rounded(fixed, multiple) if fixed else _crop_side(side, pixels, multiple)
        for fixed, side, pixels in zip(budget.crop, sides, size / np.array(spacing), strict=True)
    )
    intensity = intensity_rules(dataset, budget)
    mirror, turn = averaging(settings)
    return Plan(
        channels=dataset.channels,
        classes=dataset.classes,
        spacing=(significant(spacing[0]), significant(spacing[1])),
        crop=(crop[0], crop[1]),
        batch=budget.batch,
        depth=depth,
        slice_axis=budget.slice_axis,
        intensity=intensity,
        clip=tuple((low, high) for low, high, _, _ in prints.intensities),
        statistics=tuple((mean, deviation) for _, _, mean, deviation in prints.intensities),
        complete_strokes=budget.strokes == "complete" or (budget.strokes == "auto" and prints.complete_strokes()),
        rings=budget.rings == "on" or (budget.rings == "auto" and prints.ringed()),
        mirror=mirror,
        turn=turn,
        directions=common([case.directions for case in prints.cases]),
        network=settings.network,
    )


def averaging(settings: Settings) -> tuple[bool, float]:
    """What predictions are averaged over, of what was trained: mirrored copies, or else copies turned by degrees."""
    mirror, fixed = settings.augment.flip or settings.augment.right_angles, settings.planner.turn
    derived = 0 if mirror else min(FARTHEST_TURN, round(TURN * settings.augment.rotation, 1))
    return mirror, derived if fixed == "auto" else fixed


def _spacing(
    prints: Fingerprint, sides: tuple[int, int], size: NDArray[np.float64], view: float
) -> tuple[float, float]:
    """Of rows and columns, mm; `size`: of the slices, mm."""
    rows, columns = np.median([case.spacing[1:] for case in prints.cases], axis=0)
    if max(rows, columns) / min(rows, columns) < ANISOTROPIC:
        rows = columns = math.sqrt(rows * columns)
    extents = [extent for case in prints.cases for extent in case.extents]
    field = np.minimum(FIELD_OF_VIEW * np.percentile(extents, 95, axis=0), size) if extents else np.zeros(2)
    needed = view * field / sides
    coarser = max(1.0, needed[0] / rows, needed[1] / columns)
    return float(rows * coarser), float(columns * coarser)


def _crop_side(side: int, size: float, multiple: int) -> int:
    return max(min(side // multiple * multiple, _rounded(size, multiple)), _rounded(SMALLEST_CROP, multiple))


def _rounded(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple
