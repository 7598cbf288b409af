"""Enhanced DICOM, all slices of a series in one file, by highdicom, which knows where each frame lies."""

from pathlib import Path

import highdicom as hd
import numpy as np

from pclmix.data.formats.reading import reading
from pclmix.data.grid import Volume, from_lps_affine
from pclmix.errors import InputError


def read(path: Path, files: list[Path]) -> Volume:
    """Read the one file of a series; its frames are (slice, row, column) to highdicom."""
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files of several frames each, expected one such file a series")
    with reading(path, "DICOM whose frames make a volume"):
        found = hd.imread(files[0]).get_volume(dtype=np.float32)
        array = found.array.transpose(2, 1, 0, *range(3, found.array.ndim))
        return Volume(array, from_lps_affine(column_first(found.affine)), path, tuple(files))


def column_first(affine: np.ndarray) -> np.ndarray:
    """A matrix from (slice, row, column), as highdicom has it, as one from (column, row, slice)."""
    return affine[:, [2, 1, 0, 3]]
