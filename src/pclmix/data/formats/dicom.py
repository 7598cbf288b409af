"""DICOM: a folder is one image series, a file a series of its own or a segmentation (DICOM SEG).

pydicom reads the headers, SimpleITK (GDCM) the pixels, packed or not, with the rescale slope of each slice applied.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pclmix.data.formats import dicom_seg, enhanced
from pclmix.data.formats.reading import reading
from pclmix.data.formats.registry import dicom_files
from pclmix.data.grid import Geometry, Volume, from_lps, unplaced
from pclmix.errors import InputError

EXPECTED = "DICOM"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of a segmentation: bits or fractions, and label maps."""
SCALES = (("RescaleSlope", 1), ("RescaleIntercept", 0))
PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
FIELDS = ("SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "Rows")

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # odd values of unused fields are no matter


def entries(folder: Path, paths: Iterable[Path]) -> dict[Path, str]:
    """What DICOM files of one folder are: the folder, for its image series, and a file each for segmentations.

    Raises `InputError` for several series in the folder. What holds no image (reports, DICOMDIR) is left out.
    """
    found: dict[Path, str] = {}
    series: dict[str, str] = {}
    for path in paths:
        header = _header(path, FIELDS)
        if header.get("SOPClassUID") in SEGMENTATIONS:
            found[path] = path.stem
        elif "Rows" in header:
            uid = str(header.get("SeriesInstanceUID", ""))
            series[uid] = str(header.get("SeriesDescription", "")) or uid
    if len(series) > 1:
        names = ", ".join(sorted(series.values()))
        raise InputError(f"{folder}: {len(series)} DICOM series ({names}), expected one series a folder")
    if series:
        found[folder] = folder.resolve().name
    return found


def read(path: Path, *, label: bool) -> Volume:
    """Read a series (a folder or a file), or a segmentation where a label is wanted."""
    files = _files(path)
    headers = [_header(file) for file in files]
    if not headers:
        raise InputError(f"{path}: no DICOM image in this folder, expected a series")
    kinds = ("an image series", "a segmentation (DICOM SEG)")
    found = headers[0].get("SOPClassUID") in SEGMENTATIONS
    if found != label:
        raise InputError(f"{path}: {kinds[found]}, expected {kinds[label]}")
    if label:
        return dicom_seg.read(path)
    if int(headers[0].get("NumberOfFrames") or 1) > 1:
        return enhanced.read(path, files)
    with reading(path, EXPECTED):
        order, geometry = _places(headers, path)
        files, headers = [files[index] for index in order], [headers[index] for index in order]
        array = _pixels(files, headers)
    return Volume(array, geometry, path, tuple(files))


def channels(path: Path) -> int:
    """Channels that `read` will give."""
    files = _files(path)
    return 3 if files and int(_header(files[0], ("SamplesPerPixel",)).get("SamplesPerPixel") or 1) == 3 else 1


def modality(path: Path) -> str:
    """The kind of device that made a series, such as CT or MR; nothing where its header does not say."""
    return str(_header(_files(path)[0], ("Modality",)).get("Modality") or "")


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write a label as DICOM SEG that refers to the series `like` was read of."""
    dicom_seg.write(path, array, like, classes)


def _header(path: Path, fields: Sequence[str] | None = None) -> Any:
    with reading(path, EXPECTED):
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(fields) if fields else None)


def _files(path: Path) -> list[Path]:
    """The image files of a series, sorted by name; a file alone is its own series."""
    if not path.is_dir():
        return [path]
    found = [(file, _header(file, FIELDS)) for file in dicom_files(path)]
    return [file for file, header in found if "Rows" in header and header.get("SOPClassUID") not in SEGMENTATIONS]


def _places(headers: list[Any], path: Path) -> tuple[list[int], Geometry]:
    """Order of the slices along their normal, and the geometry. Raises `InputError` unless they are evenly spaced."""
    first = headers[0]
    row, column = (float(value) for value in first.get("PixelSpacing") or first.get("ImagerPixelSpacing") or (1, 1))
    if any(header.get(name) is None for header in headers for name in PLACE):
        if len(headers) > 1:
            raise InputError(f"{path}: slices without a place, expected {' and '.join(PLACE)} in all {len(headers)}")
        return [0], unplaced((column, row, 1))
    turns = np.array([header.ImageOrientationPatient for header in headers], dtype=float)
    if np.abs(turns - turns[0]).max() > 1e-2:
        raise InputError(f"{path}: slices of several directions, expected parallel ones (a localiser is no volume)")
    along, down = turns[0, :3], turns[0, 3:]
    normal = np.cross(along, down)
    positions = np.array([header.ImagePositionPatient for header in headers], dtype=float)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step = float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1)
    if len(headers) > 1:
        gaps = np.diff(positions @ normal)
        if gaps.min() < 1e-3:
            raise InputError(f"{path}: two slices at one place, expected one (a series of one time and one echo)")
        if gaps.max() > 1.1 * np.median(gaps) or gaps.min() < 0.9 * np.median(gaps):
            raise InputError(
                f"{path}: slices {gaps.min():.3g} to {gaps.max():.3g} mm apart, expected even steps; is one missing?"
            )
        way = (positions[-1] - positions[0]) / (len(headers) - 1)
        step = float(np.linalg.norm(way))
        normal = way / step  # of a tilted gantry it is not the normal of the slices
    return order.tolist(), from_lps((column, row, step), np.stack([along, down, normal], axis=1), positions[0])


def _pixels(files: list[Path], headers: list[Any]) -> NDArray[Any]:
    """(column, row, slice), as integers where every slope and intercept is one, else float32; or with colours last."""
    if int(headers[0].get("SamplesPerPixel") or 1) > 1:
        array = sitk.GetArrayFromImage(sitk.ReadImage(files))
        return array.transpose(2, 1, 0, 3)
    scales = [float(header.get(name) or default) for header in headers for name, default in SCALES]
    whole = all(value.is_integer() for value in scales)
    array = sitk.GetArrayFromImage(sitk.ReadImage(files, sitk.sitkInt32 if whole else sitk.sitkFloat32))
    for small in (np.int16, np.uint16) if whole else ():
        if np.iinfo(small).min <= array.min() and array.max() <= np.iinfo(small).max:
            array = array.astype(small)
            break
    return array.transpose(2, 1, 0)
