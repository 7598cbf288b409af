"""Volumes in and out with their geometry, repaired in one place.

The true spacing is pixdim (`header.get_zooms()`), never the length of the affine's columns: all ACDC images carry an
affine of unit scale. The affine gives the directions and the origin only. A label goes out with its image's own
header, both forms and their codes.
"""

import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from pclmix.errors import InputError
from pclmix.files import atomic_path

ODD_LABELS = "label values that are no small integers, expected one integer a voxel"


@dataclass(frozen=True)
class Geometry:
    """`spacing`: mm along array axes 0, 1, 2; `direction`: (3, 3), its columns the unit directions of the axes;
    `origin`: (3,), mm."""

    spacing: tuple[float, float, float]
    direction: NDArray[np.float64]
    origin: NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """A 3-D array in the axis order of its file, its repaired geometry, and the header to write a label with."""

    array: NDArray[Any]
    geometry: Geometry
    path: Path
    header: Any


def nifti_stem(path: Path) -> str | None:
    """File name without .nii or .nii.gz (in any case), or None for a hidden file or one of another kind."""
    match = re.fullmatch(r"([^.].*?)\.nii(\.gz)?", path.name, re.IGNORECASE)
    return match[1] if match else None


def nifti_files(folder: Path) -> dict[Path, str]:
    """The NIfTI files of a folder (not below it) with their stems, sorted. Raises `InputError` if it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot read ({error.strerror}), expected a folder of images") from None
    return {path: stem for path in paths if (stem := nifti_stem(path)) is not None}


def by_channel(files: Mapping[Path, str]) -> dict[str, dict[int, Path]]:
    """Files with their stems -> case -> channel -> file. CASE or CASE_0000 is channel 0 of CASE.

    Other four digits are a channel where there is a CASE_0000, else a part of the name (a scan with a number). Raises
    `InputError` for two files that are one channel of one case.
    """
    stems = set(files.values())
    cases: dict[str, dict[int, Path]] = {}
    for path, stem in files.items():
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        is_channel = match is not None and f"{match[1]}_0000" in stems
        case, channel = (match[1], int(match[2])) if match and is_channel else (stem, 0)
        known = cases.setdefault(case, {})
        if channel in known:
            raise InputError(f"{path}: two files for case {case}, the other is {known[channel]}, expected one")
        known[channel] = path
    return cases


def read_image(path: Path) -> Volume:
    """Read a 3-D image as float32. Raises `InputError` if it is missing, cut short, 4-D, empty or not finite."""
    file = _open(path)
    array = _array(file, path).astype(np.float32)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"{path}: {count} voxels are NaN or infinite, expected finite intensities")
    return Volume(array, _geometry(file, path), path, file.header)


def read_label(path: Path) -> Volume:
    """Read a 3-D label map as int16. Raises `InputError` as `read_image` does, and for values that are no integers."""
    file = _open(path)
    array = _array(file, path)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.isfinite(array).all() or np.abs(array - whole).max() > 1e-3:
            raise InputError(f"{path}: {ODD_LABELS}")
        array = whole
    if max(int(array.max()), -int(array.min())) > 30_000:
        raise InputError(f"{path}: {ODD_LABELS}")
    return Volume(array.astype(np.int16), _geometry(file, path), path, file.header)


def read_geometry(path: Path) -> tuple[tuple[int, ...], Geometry]:
    """Shape and repaired geometry from the header alone."""
    file = _open(path)
    return _shape(file, path), _geometry(file, path)


def difference(a: Geometry, b: Geometry) -> str | None:
    """What differs between two repaired geometries, or None where they agree.

    Tolerances: spacing 1 % (headers round), directions 0.02 (about 1 degree), origin half a voxel along each axis.
    """
    if not np.allclose(a.spacing, b.spacing, rtol=1e-2):
        return f"spacing {_numbers(b.spacing)} mm, expected {_numbers(a.spacing)}"
    if not np.allclose(a.direction, b.direction, atol=2e-2):
        return f"axis directions {_numbers(b.direction.ravel())}, expected {_numbers(a.direction.ravel())}"
    if (np.abs(a.direction.T @ (b.origin - a.origin)) > 0.5 * np.array(a.spacing)).any():
        return f"origin {_numbers(b.origin)} mm, expected {_numbers(a.origin)}"
    return None


def require_same_grid(image: Volume, other: Volume) -> None:
    """Raise `InputError` unless both have the same shape and, after repair, the same geometry."""
    if image.array.shape != other.array.shape:
        raise InputError(f"{other.path}: shape {other.array.shape}, expected {image.array.shape} as in {image.path}")
    if found := difference(image.geometry, other.geometry):
        raise InputError(f"{other.path}: {found} as in {image.path}")


def write_label(path: Path, array: NDArray[Any], like: Volume) -> None:
    """Write a label map (uint8 or int16) with the header of `like`, atomically."""
    dtype = np.uint8 if array.max(initial=0) < 256 and array.min(initial=0) >= 0 else np.int16
    _write(path, array.astype(dtype), like)


def write_map(path: Path, array: NDArray[Any], like: Volume) -> None:
    """Write a float32 map, 3-D or with channels last, with the header of `like`, atomically."""
    _write(path, array.astype(np.float32), like)


def slice_axis(shape: tuple[int, ...], spacing: tuple[float, float, float], choice: str = "auto") -> int:
    """Array axis of the slices: one of length 1 (a single slice), else of largest spacing, the last of equals; or the
    one chosen."""
    if choice != "auto":
        return int(choice)
    return max(range(3), key=lambda axis: (shape[axis] == 1, round(spacing[axis], 4), axis))


def to_slices(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """View of a volume as (slices, rows, columns)."""
    return np.moveaxis(array, axis, 0)


def from_slices(slices: NDArray[Any], axis: int) -> NDArray[Any]:
    """Inverse of `to_slices`."""
    return np.moveaxis(slices, 0, axis)


def in_plane(spacing: tuple[float, float, float], axis: int) -> tuple[float, float]:
    """Spacing of the two axes that are left when `axis` is the slice axis, mm."""
    row, column = (value for index, value in enumerate(spacing) if index != axis)
    return row, column


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a NIfTI image")
    try:
        file = nib.load(path)
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, OverflowError) as e:
        raise InputError(f"{path}: not a readable image ({_short(e)}), expected NIfTI") from None
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
        raise InputError(f"{path}: {len(shape)}-D, shape {shape}, expected a 3-D volume (one file a channel)")
    return shape


def _array(file: Any, path: Path) -> NDArray[Any]:
    shape = _shape(file, path)
    try:
        array = np.asarray(file.dataobj)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: cut short or damaged ({_short(error)}), expected {shape} voxels") from None
    if array.dtype.kind not in "iufb":
        raise InputError(f"{path}: voxels of type {array.dtype}, expected numbers")
    return array.reshape(shape)


def _geometry(file: Any, path: Path) -> Geometry:
    zooms = tuple(float(z) for z in file.header.get_zooms()[:3])
    zooms = (*zooms, *(1.0,) * (3 - len(zooms)))
    if not all(np.isfinite(z) and z > 0 for z in zooms):
        raise InputError(f"{path}: voxel size {_numbers(zooms)}, expected positive mm (pixdim)")
    columns = np.asarray(file.affine, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    direction = columns / lengths if (lengths > 0).all() else np.eye(3)
    return Geometry((zooms[0], zooms[1], zooms[2]), direction, np.asarray(file.affine, dtype=np.float64)[:3, 3])


def _write(path: Path, array: NDArray[Any], like: Volume) -> None:
    header = like.header.copy()
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    zooms = header.get_zooms()[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # No affine is given, so nibabel keeps both forms and their codes as the header has them.
        image = nib.Nifti1Image(array, None, header)
        image.header.set_zooms((*zooms, *(1.0,) * (array.ndim - len(zooms)))[: array.ndim])
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{float(value):.4g}" for value in values) + ")"


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
