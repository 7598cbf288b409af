"""How slices lie in the patient, and turning those of an image to lie as the ones that were trained on, or upright.

A network that was not trained on mirrored slices knows its structures as the training files store them, so an image
whose file stores its axes in another order, or from the other end, has to be turned first.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from pclmix.data.grid import Geometry, Volume
from pclmix.data.volume import from_slices, to_slices

Directions = tuple[tuple[float, float, float], ...]
"""Unit vectors along which rows and columns of a slice are counted, to the right, front and top (RAS); empty where
nothing is known of them."""

ALIKE = 0.75
"""Least cosine of two directions that are taken for the same, or for opposite ones: 41 degrees. Short axes of MSCMR's
hearts lie within 28 degrees of their mean, other axes of the body are 90 degrees away."""

AXES = ("RL", "AP", "SI")


class Orientation(NamedTuple):
    """What to do to a slice: swap its rows and columns, then count either `back`wards."""

    swapped: bool
    back: tuple[bool, bool]


STORED = Orientation(False, (False, False))
EVERY = tuple(Orientation(swapped, (rows, columns)) for swapped, rows, columns in product((False, True), repeat=3))


def directions(geometry: Geometry, axis: int) -> Directions:
    """Of the slices across an array axis; empty where the file says nothing of them."""
    if not geometry.placed:
        return ()
    return _unit(np.delete(geometry.direction, axis, axis=1).T)


def common(of_images: Sequence[Directions]) -> Directions:
    """What all have in common, their mean; empty where one says nothing or lies otherwise than the mean."""
    if not of_images or not all(of_images):
        return ()
    every = np.array(of_images)
    mean = every.mean(axis=0)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    if (length < ALIKE).any() or ((every * mean / length).sum(axis=2) < ALIKE).any():
        return ()
    return _unit(mean)


def by_header(own: Directions, trained: Directions) -> Orientation | None:
    """What makes slices lie as those trained on; None where the directions do not tell."""
    if not own or not trained:
        return None
    along = np.array(own) @ np.array(trained).T
    for swapped, (rows, columns) in ((False, along.diagonal()), (True, along[::-1].diagonal())):
        if min(abs(rows), abs(columns)) >= ALIKE:
            return Orientation(swapped, (bool(rows < 0), bool(columns < 0)))
    return None


def upright(geometry: Geometry, axis: int) -> Orientation:
    """What makes slices across an array axis upright pictures.

    Upright is what radiologists and cameras agree on: the head, else the front, at the top, and the patient's right,
    else the front, at the left. A picture without geometry comes out as it is stored.
    """
    affine = np.eye(4)
    affine[:3, :3] = geometry.direction
    axes = np.delete(io_orientation(affine), axis, axis=0)  # a line an axis: the world axis, 1 or -1 along it
    swap = bool(axes[0, 0] < axes[1, 0])
    rows, columns = axes[::-1] if swap else axes
    return Orientation(swap, (bool(rows[1] > 0), bool(columns[1] > 0)))


def laid(slices: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """A view of slices (S, H, W) turned."""
    return _flipped(slices.swapaxes(1, 2) if orientation.swapped else slices, orientation)


def turned(volume: Volume, axis: int, orientation: Orientation) -> Volume:
    """The volume with its slices (across `axis`) turned; of its geometry only the spacing goes along."""
    slices = laid(to_slices(volume.array, axis), orientation)
    spacing = list(volume.geometry.spacing)
    if orientation.swapped:
        first, second = (index for index in range(3) if index != axis)
        spacing[first], spacing[second] = spacing[second], spacing[first]
    geometry = replace(volume.geometry, spacing=(spacing[0], spacing[1], spacing[2]), placed=False)
    return replace(volume, array=from_slices(slices, axis), geometry=geometry)


def turned_back(array: NDArray[Any], axis: int, orientation: Orientation) -> NDArray[Any]:
    """What was made of a turned volume, in the axes of its file; classes, if any, come last."""
    slices = _flipped(to_slices(array, axis), orientation)
    return from_slices(slices.swapaxes(1, 2) if orientation.swapped else slices, axis)


def letters(lie: Directions) -> str:
    """Rows and columns by the ends of the body that they run to, roughly: "LP" of rows to the left, columns to the
    back."""
    places = [int(np.abs(one).argmax()) for one in lie]
    return "".join(AXES[place][int(one[place] < 0)] for place, one in zip(places, lie, strict=True))


def _unit(lines: NDArray[np.float64]) -> Directions:
    """Lines (2, 3) of length 1, to four decimals."""
    unit = lines / np.linalg.norm(lines, axis=1, keepdims=True)
    return tuple((x, y, z) for x, y, z in unit.round(4).tolist())


def _flipped(slices: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    rows, columns = (slice(None, None, -1 if back else 1) for back in orientation.back)
    return slices[:, rows, columns]
