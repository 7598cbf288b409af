"""NIfTI, by nibabel, with the geometry repaired.

The true spacing is pixdim (`header.get_zooms()`), never the length of the affine's columns: all ACDC images carry an
affine of unit scale. The affine gives the directions and the origin only. Both are in the header's unit of length, and
brought to mm. A label goes out with its image's own header: both forms, their codes and that unit.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from pclmix.data.formats.reading import no_volume, reading, short
from pclmix.data.grid import LPS, Geometry, Volume, lps_affine, numbers
from pclmix.errors import InputError

MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 1e-3}
"""Of the header's codes of length: metre, mm and micrometre. Any other says nothing, which is taken for mm."""


def read(path: Path, *, label: bool) -> Volume:
    """Read a volume."""
    file = _open(path)
    return Volume(_array(file, path), _geometry(file, path), path, file.header)


def channels(path: Path) -> int:
    """One file a channel."""
    return 1


def shape_and_geometry(path: Path) -> tuple[tuple[int, ...], Geometry]:
    """From the header alone."""
    file = _open(path)
    return _shape(file, path), _geometry(file, path)


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write an array (a map may have channels last) with the header of `like`, or one of its geometry."""
    is_nifti = isinstance(like.header, nib.Nifti1Header)
    header = like.header.copy() if is_nifti else nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    zooms = header.get_zooms()[:3] if is_nifti else like.geometry.spacing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # No affine is given, so nibabel keeps both forms and their codes as the header has them.
        image = nib.Nifti1Image(array, None, header)
        image.header.set_zooms((*zooms, *(1.0,) * (array.ndim - len(zooms)))[: array.ndim])
        if not is_nifti:
            affine = np.diag([*LPS, 1.0]) @ lps_affine(like.geometry)
            image.set_qform(affine, 1)
            image.set_sform(affine, 1)
            image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _open(path: Path) -> Any:
    with reading(path, "NIfTI"):
        file = nib.load(path)
        if not isinstance(file, nib.Nifti1Pair):
            raise InputError(f"{path}: an image of another format ({type(file).__name__}), expected NIfTI")
        return file


def _shape(file: Any, path: Path) -> tuple[int, ...]:
    shape = tuple(int(n) for n in file.shape)
    if not shape or min(shape) < 1:
        raise InputError(f"{path}: empty, shape {shape}, expected at least one voxel")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise no_volume(path, shape)
    return shape


def _array(file: Any, path: Path) -> NDArray[Any]:
    shape = _shape(file, path)
    try:
        array = np.asarray(file.dataobj)
    except Exception as error:  # as many kinds as there are ways to damage a packed file
        raise InputError(f"{path}: cut short or damaged ({short(error)}), expected {shape} voxels") from None
    return array.reshape(shape)


def _geometry(file: Any, path: Path) -> Geometry:
    zooms = tuple(float(z) for z in file.header.get_zooms()[:3])
    zooms = (*zooms, *(1.0,) * (3 - len(zooms)))
    if not all(np.isfinite(z) and z > 0 for z in zooms):
        raise InputError(f"{path}: voxel size {numbers(zooms)}, expected positive numbers (pixdim)")
    unit = MILLIMETRES.get(int(file.header["xyzt_units"]) % 8, 1.0)
    columns = np.asarray(file.affine, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    direction = columns / lengths if (lengths > 0).all() else np.eye(3)
    spacing = (zooms[0] * unit, zooms[1] * unit, zooms[2] * unit)
    return Geometry(spacing, direction, np.asarray(file.affine, dtype=np.float64)[:3, 3] * unit)
