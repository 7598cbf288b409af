"""TIFF, by tifffile: pages are slices; the spacing is ImageJ's or OME's, where they wrote it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import tifffile
from numpy.typing import NDArray

from pclmix.data.formats.reading import reading, without_alpha
from pclmix.data.grid import Volume, unplaced
from pclmix.errors import InputError, SeveralVolumesError

SLICES = "ZIQT"
"""tifffile's letters of an axis that pages lie along: slices, pages of unknown meaning, and frames, as ImageJ calls the
pages of some stacks."""
MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3, "nm": 1e-6}
MILLIMETRES |= {"microns": 1e-3, "micrometer": 1e-3, "inch": 25.4, "\\u00b5m": 1e-3}


class _Damage(logging.Handler):
    """tifffile logs that pages or tags lie behind the end of a file and reads on without them; here it is an error."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(record.getMessage())


logging.getLogger("tifffile").propagate = False
logging.getLogger("tifffile").addHandler(_Damage(logging.ERROR))


def read(path: Path, *, label: bool) -> Volume:
    """Read a stack, (column, row, slice) or with colours last."""
    with reading(path, "TIFF"), tifffile.TiffFile(path) as file:
        axes, series = _axes(file, path)
        array = _array(file, series, path)
        array = array.reshape([n for n, axis in zip(series.shape, series.axes, strict=True) if axis in axes])
        order = [axes.index(axis) for axis in ("X", "Y", *(a for a in axes if a in SLICES), *("S" * ("S" in axes)))]
        array = array.transpose(order)
        if not any(axis in SLICES for axis in axes):
            array = array[:, :, None]
        array = without_alpha(array, path) if array.ndim == 4 else array
        array = array.astype(np.uint8) if array.dtype == bool else array
        spacing = _spacing(file)
    return Volume(array, unplaced(spacing), path, None)


def channels(path: Path) -> int:
    """Channels that `read` will give."""
    with reading(path, "TIFF"), tifffile.TiffFile(path) as file:
        axes, series = _axes(file, path)
        return 3 if "S" in axes and series.shape[series.axes.index("S")] > 2 else 1


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write a label as a stack that ImageJ opens, with the spacing of `like` where it is known."""
    pages = np.ascontiguousarray(array.transpose(2, 1, 0))
    if not like.geometry.sized:
        tifffile.imwrite(path, pages, metadata={"axes": "ZYX"}, photometric="minisblack")
        return
    column, row, between = like.geometry.spacing
    tifffile.imwrite(
        path,
        pages.astype(np.uint16) if pages.dtype == np.int16 else pages,
        imagej=True,
        resolution=(1 / column, 1 / row),
        metadata={"axes": "ZYX", "spacing": between, "unit": "mm"},
        photometric="minisblack",
    )


def _axes(file: tifffile.TiffFile, path: Path) -> tuple[str, Any]:
    """Axes longer than 1 (rows and columns in any case) of the one series of pages. Raises `InputError` for several."""
    if len(file.series) != 1:
        raise InputError(f"{path}: pages of {len(file.series)} kinds or sizes, expected slices of one size")
    series = file.series[0]
    axes = "".join(axis for axis, n in zip(series.axes, series.shape, strict=True) if n > 1 or axis in "XYS")
    told = f"{path}: axes {series.axes} of {series.shape}, expected slices of grey or RGB (ZYX or ZYXS)"
    if set(axes) - set(SLICES + "XYS"):
        raise InputError(told)
    if sum(axis in SLICES for axis in axes) > 1:
        raise SeveralVolumesError(told)
    return axes, series


def _array(file: tifffile.TiffFile, series: Any, path: Path) -> NDArray[Any]:
    try:
        return np.asarray(series.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    array = sitk.GetArrayFromImage(sitk.ReadImage(path))  # LZW and its like are unpacked by ITK
    return array.reshape(series.shape)


def _spacing(file: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """(column, row, slice), mm, or None where neither ImageJ nor OME says. A missing distance of slices is 1 mm."""
    if file.ome_metadata:
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        sizes = [(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ"]
    elif file.imagej_metadata and "XResolution" in file.pages.first.tags:
        unit = str(file.imagej_metadata.get("unit", ""))
        tags = file.pages.first.tags
        steps = [tags[f"{axis}Resolution"].value for axis in "XY"]
        sizes = [(below / above if above else None, unit) for above, below in steps]
        sizes.append((file.imagej_metadata.get("spacing"), unit))
    else:
        return None
    column, row, between = (
        float(size) * MILLIMETRES[unit.lower()] if size and unit.lower() in MILLIMETRES else None
        for size, unit in sizes
    )
    if column is None or row is None:
        return None
    return column, row, between or 1.0
