"""PNG, JPEG and BMP, by Pillow: a 2-D image is a volume of one slice, 1 mm, in ITK's axes (column, row)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import Image

from pclmix.data.formats.reading import reading, without_alpha
from pclmix.data.grid import Volume, unplaced
from pclmix.errors import InputError

EXPECTED = "PNG, JPEG or BMP"
GREY = ("1", "L", "I", "F")
"""Pillow's modes of one channel, `I;16` and its kin aside."""
DEEP = ("RGB;16B", "RGBA;16B", "LA;16B")
"""Colours of 16 bits, of which Pillow would keep 8; ITK keeps them all."""


def read(path: Path, *, label: bool) -> Volume:
    """Read a picture, (column, row, 1) or with colours last. Of a palette a label takes numbers, an image colours.

    Raises `InputError` for labels in JPEG, which changes values.
    """
    with reading(path, EXPECTED), Image.open(path) as picture:
        if label and picture.format == "JPEG":
            raise InputError(f"{path}: labels as JPEG, which changes their values, expected PNG or the like")
        if (count := getattr(picture, "n_frames", 1)) > 1:
            raise InputError(f"{path}: {count} pictures in one file, expected one")
        if picture.tile and str(picture.tile[0].args) in DEEP:
            array = sitk.GetArrayFromImage(sitk.ReadImage(path))
        else:
            is_plain = _is_plain(picture.mode) or (label and picture.mode == "P")
            array = np.asarray(picture if is_plain else _colours(picture))
        array = array.astype(np.uint8) if array.dtype == bool else array
        array = without_alpha(array, path) if array.ndim == 3 else array
    return Volume(np.moveaxis(array, 0, 1)[:, :, None], unplaced(None), path, None)


def channels(path: Path) -> int:
    """Channels that `read` will give of an image."""
    with reading(path, EXPECTED), Image.open(path) as picture:
        return 1 if _is_plain(picture.mode) or picture.mode == "LA" else 3


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write a label of one slice as a grey PNG, the value of a pixel its class."""
    flat = np.squeeze(array, axis=flat_axis(array.shape, like.path))
    flat = flat.astype(np.uint16) if flat.dtype == np.int16 else flat
    Image.fromarray(np.ascontiguousarray(flat.T)).save(path)


def flat_axis(shape: tuple[int, ...], path: Path) -> int:
    """The axis along which there is one slice, the last of several. Raises `InputError` for a volume."""
    for axis in (2, 1, 0):
        if shape[axis] == 1:
            return axis
    raise InputError(f"{path}: {shape} voxels are no PNG, expected one slice (or --format tif)")


def _is_plain(mode: str) -> bool:
    return mode in GREY or mode.startswith("I;16")


def _colours(picture: Image.Image) -> Image.Image:
    """A picture of colours as RGB, RGBA or grey with alpha. A palette's or key colour's transparency becomes alpha."""
    if picture.mode in ("LA", "RGB", "RGBA") and "transparency" not in picture.info:
        return picture
    alpha = picture.mode in ("PA", "La", "RGBa") or "transparency" in picture.info
    return picture.convert("RGBA" if alpha else "RGB")
