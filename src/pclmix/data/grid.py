"""A 3-D array and where it lies: spacing, directions, origin; and two arrays brought onto one grid.

World coordinates are NIfTI's (x to the right, y to the front, z to the head: RAS), whatever the file used; DICOM, ITK
and 3D Slicer count x and y the other way (LPS). Array axes are those of the file, the quickest first: column, row,
slice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pclmix.errors import InputError

LPS = np.array([-1.0, -1.0, 1.0])
"""Times a point in RAS it is the point in LPS, and the other way round."""


@dataclass(frozen=True)
class Geometry:
    """`spacing`: mm along array axes 0, 1, 2; `direction`: (3, 3), its columns the unit directions of the axes;
    `origin`: (3,), mm. `sized` is False where the file says
    no spacing, so that 1 mm is assumed (PNG, JPEG), `placed` where it says no directions and origin (TIFF too)."""

    spacing: tuple[float, float, float]
    direction: NDArray[np.float64]
    origin: NDArray[np.float64]
    sized: bool = True
    placed: bool = True


@dataclass(frozen=True)
class Volume:
    """A 3-D array in the axis order of its file, its geometry, and what a label of its grid is written with.

    `header` is the format's own (NIfTI's header, the files of a DICOM series) or None. `segments` are the names and
    values of a segmentation file (.seg.nrrd, DICOM SEG), which may cover a part of its image; None for any other file.
    """

    array: NDArray[Any]
    geometry: Geometry
    path: Path
    header: Any
    segments: Mapping[str, int] | None = None


def from_lps(spacing: ArrayLike, direction: ArrayLike, origin: ArrayLike) -> Geometry:
    """Geometry of what a library gives in LPS; `direction` (3, 3), its columns the axes."""
    x, y, z = (float(value) for value in np.asarray(spacing))
    return Geometry((x, y, z), LPS[:, None] * np.asarray(direction), LPS * np.asarray(origin))


def from_lps_affine(affine: NDArray[np.float64]) -> Geometry:
    """Geometry of a (4, 4) matrix from voxel to LPS, mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return from_lps(spacing, affine[:3, :3] / spacing, affine[:3, 3])


def lps_affine(geometry: Geometry) -> NDArray[np.float64]:
    """The (4, 4) matrix from voxel to LPS, mm."""
    affine = np.eye(4)
    affine[:3, :3] = LPS[:, None] * geometry.direction * np.array(geometry.spacing)
    affine[:3, 3] = LPS * geometry.origin
    return affine


def unplaced(spacing: tuple[float, float, float] | None) -> Geometry:
    """Of a file that says its spacing at most: 1 mm where it does not, in the directions that ITK gives such a file."""
    geometry = from_lps(spacing or (1, 1, 1), np.eye(3), np.zeros(3))
    return replace(geometry, sized=spacing is not None, placed=False)


def difference(a: Geometry, b: Geometry) -> str | None:
    """What differs between two geometries, or None where they agree. What one of them does not say is no difference.

    Tolerances: spacing 1 % (headers round), directions 0.02 (about 1 degree), origin half a voxel along each axis.
    """
    if a.sized and b.sized and not np.allclose(a.spacing, b.spacing, rtol=1e-2):
        return f"spacing {numbers(b.spacing)} mm, expected {numbers(a.spacing)}"
    if not (a.placed and b.placed):
        return None
    if not np.allclose(a.direction, b.direction, atol=2e-2):
        return f"axis directions {numbers(b.direction.ravel())}, expected {numbers(a.direction.ravel())}"
    if (np.abs(a.direction.T @ (b.origin - a.origin)) > 0.5 * np.array(a.spacing)).any():
        return f"origin {numbers(b.origin)} mm, expected {numbers(a.origin)}"
    return None


def require_same_grid(image: Volume, other: Volume) -> None:
    """Raise `InputError` unless both have the same shape and, after repair, the same geometry."""
    if image.array.shape != other.array.shape:
        raise InputError(f"{other.path}: shape {other.array.shape}, expected {image.array.shape} as in {image.path}")
    if found := difference(image.geometry, other.geometry):
        raise InputError(f"{other.path}: {found} as in {image.path}")


def onto_grid(image: Volume, label: Volume) -> Volume:
    """A label on the grid of its image: axes swapped and turned as the geometries say, a segmentation that covers a
    part filled up with 0. Raises `InputError` where that is no matter of whole voxels."""
    here, there = image.geometry, label.geometry
    if image.array.shape == label.array.shape and difference(here, there) is None:
        return label if there.placed else replace(label, geometry=here, header=image.header)
    array = _placed(image, label) if here.placed and there.placed else None
    if array is None:
        require_same_grid(image, label)  # says what differs
        return label
    return replace(label, array=array, geometry=here, header=image.header)


def _placed(image: Volume, label: Volume) -> NDArray[Any] | None:
    """The label's array in the axes and shape of its image, or None where the grids have no voxels in common."""
    here, there = image.geometry, label.geometry
    turn = np.linalg.solve(here.direction, there.direction)
    whole = np.rint(turn)
    if np.abs(turn - whole).max() > 2e-2 or not np.array_equal(np.abs(whole) @ np.abs(whole).T, np.eye(3)):
        return None
    order = np.abs(whole).argmax(axis=1)  # the label's axis that runs along each of the image's
    back = whole.sum(axis=1) < 0
    spacing, steps = np.array(here.spacing), np.array(there.spacing)
    if not np.allclose(steps[order], spacing, rtol=1e-2):
        return None
    array = label.array.transpose(order)
    array = array[tuple(slice(None, None, -1 if turned else 1) for turned in back)]
    corner = there.origin.copy()
    for axis in order[back]:
        corner += there.direction[:, axis] * steps[axis] * (label.array.shape[axis] - 1)
    offset = np.linalg.solve(here.direction, corner - here.origin) / spacing
    if array.shape == image.array.shape and np.abs(offset).max() <= 0.5:
        return array
    if label.segments is None or np.abs(offset - np.rint(offset)).max() > 0.1:
        return None
    return _filled(image, label, array, np.rint(offset).astype(int))


def _filled(image: Volume, label: Volume, array: NDArray[Any], offset: NDArray[Any]) -> NDArray[Any]:
    """A part of the image's grid, its first voxel at `offset`, in the whole of it."""
    filled = np.zeros(image.array.shape, array.dtype)
    there, here = [], []
    for start, size, extent in zip(offset.tolist(), filled.shape, array.shape, strict=True):
        low, high = max(0, start), max(0, start, min(size, start + extent))
        there.append(slice(low, high))
        here.append(slice(low - start, high - start))
    filled[tuple(there)] = array[tuple(here)]
    if outside := np.count_nonzero(array) - np.count_nonzero(filled):
        raise InputError(f"{label.path}: {outside} voxels of segments lie outside {image.path}, expected all inside")
    return filled


def numbers(values: Any) -> str:
    """Numbers as they stand in messages."""
    return "(" + ", ".join(f"{float(value):.4g}" for value in values) + ")"
