"""Images and labels in and out, whatever their format, as volumes with their geometry.

A 2-D image is a volume of one slice; the channels of an RGB image are a volume each. The formats are a file each in
`formats`; the rest knows `Volume` only.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pclmix.data.formats.registry import BY_SUFFIX, format_of, stem, suffix_of
from pclmix.data.grid import Geometry, Volume
from pclmix.data.grid import difference as difference
from pclmix.data.grid import require_same_grid as require_same_grid
from pclmix.digits import significant
from pclmix.errors import InputError
from pclmix.files import atomic_path

ODD_LABELS = "label values that are no small integers, expected one integer a voxel"
FEW = 30
"""Most values of a label: what has more is an image, or a label blurred by a format that loses."""

COLOURS_NAMED = 5
"""Most colours that a message names."""


def nifti_stem(path: Path) -> str | None:
    """File name without .nii or .nii.gz (in any case), or None for a hidden file or one of another kind."""
    return stem(path) if suffix_of(path) in (".nii.gz", ".nii") else None


def nifti_files(folder: Path) -> dict[Path, str]:
    """The NIfTI files of a folder (not below it) with their stems, sorted. Raises `InputError` if it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot read ({error.strerror}), expected a folder of images") from None
    return {path: name for path in paths if (name := nifti_stem(path)) is not None}


def by_channel(files: Mapping[Path, str]) -> dict[str, dict[int, Path]]:
    """Files with their stems -> case -> channel -> file. CASE or CASE_0000 is channel 0 of CASE.

    Other four digits are a channel where there is a CASE_0000, else a part of the name (a scan with a number). Raises
    `InputError` for two files that are one channel of one case.
    """
    stems = set(files.values())
    cases: dict[str, dict[int, Path]] = {}
    for path, name in files.items():
        match = re.fullmatch(r"(.+)_(\d{4})", name)
        is_channel = match is not None and f"{match[1]}_0000" in stems
        case, channel = (match[1], int(match[2])) if match and is_channel else (name, 0)
        known = cases.setdefault(case, {})
        if channel in known:
            raise InputError(f"{path}: two files for case {case}, the other is {known[channel]}, expected one")
        known[channel] = path
    return cases


def read_stored(path: Path) -> list[Volume]:
    """Read an image, a volume a channel (three of an RGB image), in the type it is stored in.

    Raises `InputError` if it is missing, cut short, 4-D, empty or not finite.
    """
    volume = format_of(path).reader.read(path, label=False)
    array = _numeric(volume)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"{path}: {count} voxels are NaN or infinite, expected finite intensities")
    return [replace(volume, array=array[..., c]) for c in range(array.shape[3])] if array.ndim == 4 else [volume]


def read_channels(path: Path) -> list[Volume]:
    """Read an image as `read_stored` does, as float32."""
    return [replace(volume, array=volume.array.astype(np.float32)) for volume in read_stored(path)]


def read_image(path: Path) -> Volume:
    """Read a 3-D image of one channel as float32. Raises `InputError` as `read_stored` does, and for colours."""
    channels = read_channels(path)
    if len(channels) > 1:
        raise InputError(f"{path}: an image of colours, expected one channel")
    return channels[0]


def count_channels(paths: Iterable[Path]) -> int:
    """Channels of a case, three of each RGB image, without reading voxels."""
    return sum(format_of(path).reader.channels(path) for path in paths)


def read_label(path: Path) -> Volume:
    """Read a 3-D label map as int16. Raises `InputError` as `read_stored` does, for values that are no integers, for
    colours, and for segments that overlap."""
    volume = format_of(path).reader.read(path, label=True)
    array = _numeric(volume)
    if array.ndim == 4:
        array = _grey(array, path)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.isfinite(array).all() or np.abs(array - whole).max() > 1e-3:
            raise InputError(f"{path}: {ODD_LABELS}")
        array = whole
    if max(int(array.max()), -int(array.min())) > 30_000:
        raise InputError(f"{path}: {ODD_LABELS}")
    return replace(volume, array=array.astype(np.int16))


def few_values(path: Path) -> list[int] | None:
    """The values of a file that may be a label, small integers and few of them; None of any other, readable or not."""
    try:
        values = np.unique(read_label(path).array)
    except InputError:
        return None
    return values.tolist() if len(values) <= FEW else None


def read_geometry(path: Path) -> tuple[tuple[int, ...], Geometry]:
    """Shape and repaired geometry of a NIfTI file, from the header alone."""
    from pclmix.data.formats.nifti import shape_and_geometry

    return shape_and_geometry(path)


def spacing_warning(volumes: Iterable[Volume]) -> str | None:
    """What to tell of a TIFF that does not say its spacing, or None. (Of a PNG nobody expects it.)"""
    for volume in volumes:
        if not volume.geometry.sized and format_of(volume.path).module == "tiff":
            return f"{volume.path}: no spacing in its metadata (ImageJ, OME), so 1 mm is assumed, in all such files"
    return None


def write_label(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int] | None = None) -> None:
    """Write a label map (uint8 or int16) in the format of `path` and the grid of `like`, atomically.

    `classes` names the segments of a segmentation file; without them a value is its own name.
    """
    dtype = np.uint8 if array.max(initial=0) < 256 and array.min(initial=0) >= 0 else np.int16
    if classes is None:
        classes = {str(value): value for value in np.unique(array).tolist()}
    write_array(path, array.astype(dtype), like, classes)


def write_map(path: Path, array: NDArray[Any], like: Volume) -> None:
    """Write a float32 map, 3-D or with channels last, in the grid of `like`, atomically."""
    write_array(path, array.astype(np.float32), like, {})


def write_array(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write an array in its own type, atomically."""
    with atomic_path(path) as temporary:
        BY_SUFFIX[suffix_of(path)].reader.write(temporary, array, like, classes)


def slice_axis(shape: tuple[int, ...], spacing: tuple[float, float, float], choice: str = "auto") -> int:
    """Array axis of the slices: one of length 1 (a single slice), else of largest spacing, the last of equals; or the
    one chosen."""
    if choice != "auto":
        return int(choice)
    return max(range(3), key=lambda axis: (shape[axis] == 1, significant(spacing[axis]), axis))


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


def _numeric(volume: Volume) -> NDArray[Any]:
    array = volume.array
    if array.dtype.kind not in "iufb":
        raise InputError(f"{volume.path}: voxels of type {array.dtype}, expected numbers")
    if array.size == 0:
        raise InputError(f"{volume.path}: empty, shape {array.shape}, expected at least one voxel")
    return array


def _grey(colours: NDArray[Any], path: Path) -> NDArray[Any]:
    """The one channel of a label saved as grey in RGB. Raises `InputError`, naming what was found, for true colours."""
    if (colours == colours[..., :1]).all():
        return colours[..., 0]
    found, counts = np.unique(colours.reshape(-1, colours.shape[-1]), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    named = [f"{tuple(found[index].tolist())} {counts[index]} times" for index in order[:COLOURS_NAMED]]
    more = f" and {len(found) - COLOURS_NAMED} more" if len(found) > COLOURS_NAMED else ""
    raise InputError(f"{path}: labels saved as colours: {', '.join(named)}{more}; expected one grey value a class")
