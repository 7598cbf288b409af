"""Enhanced DICOM, all slices of a series in one file, by highdicom, which knows where each frame lies."""

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

from pclmix.data.formats.reading import reading
from pclmix.data.grid import Geometry, Volume, from_lps_affine, lps_affine
from pclmix.errors import InputError

ORDER = [2, 1, 0, 3]
"""highdicom's axes are slice, row, column; ours are the other way round."""


def read(path: Path, files: list[Path]) -> Volume:
    """Read the one file of a series."""
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files of several frames each, expected one such file a series")
    with reading(path, "DICOM whose frames make a volume"):
        found = hd.imread(files[0]).get_volume(dtype=np.float32)
        return Volume(*column_first(found.array, found.affine), path, tuple(files))


def column_first(array: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], Geometry]:
    """An array of highdicom's (colours last) and its affine in our axes, the slices along their normal as in a series;
    highdicom has them the other way."""
    array, affine = array.transpose(2, 1, 0, *range(3, array.ndim)), affine[:, ORDER]
    if np.linalg.det(affine[:3, :3]) < 0:
        array = array[:, :, ::-1]
        affine[:3, 3] += (array.shape[2] - 1) * affine[:3, 2]
        affine[:3, 2] *= -1
    return array, from_lps_affine(affine)


def highdicom_affine(geometry: Geometry) -> NDArray[np.float64]:
    """The affine that highdicom wants of an array whose axes are turned over (slice, row, column)."""
    return lps_affine(geometry)[:, ORDER]
