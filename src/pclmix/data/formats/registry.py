"""Which file is of which format: by its name, or, of DICOM files, by their first bytes.

A format's module is imported when a file of its comes along, since some libraries are slow to import.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from pclmix.data.grid import Volume
from pclmix.errors import InputError


class Reader(Protocol):
    """What the module of a format has."""

    def read(self, path: Path, *, label: bool) -> Volume:
        """A file as (column, row, slice) in its stored type, colours as a fourth axis; one line for what is wrong."""

    def channels(self, path: Path) -> int:
        """How many channels `read` gives, 1 or 3, without reading voxels."""

    def write(self, path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
        """Write a label in the grid of `like`; `classes` are its names and values."""


@dataclass(frozen=True)
class Format:
    """`suffixes`: of its files, the longest first; `output`: of a label for an image of this format; `holds_maps`:
    whether it holds fractions and several channels."""

    module: str
    suffixes: tuple[str, ...]
    output: str
    holds_maps: bool = False

    @property
    def reader(self) -> Reader:
        """Its module, imported now."""
        return cast(Reader, importlib.import_module(f"pclmix.data.formats.{self.module}"))


DICOM = Format("dicom", (".dcm", ".dicom", ".ima"), "dcm")
FORMATS = (
    Format("nifti", (".nii.gz", ".nii"), "nii.gz", holds_maps=True),
    Format("slicer", (".seg.nrrd",), "seg.nrrd"),
    Format("itk", (".nrrd", ".nhdr"), "nrrd", holds_maps=True),
    Format("itk", (".mha", ".mhd"), "mha", holds_maps=True),
    DICOM,
    Format("picture", (".png", ".jpg", ".jpeg", ".bmp"), "png"),
    Format("tiff", (".ome.tiff", ".ome.tif", ".tiff", ".tif"), "tif"),
)
BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}
OUTPUTS = {format.output: format for format in FORMATS}
READABLE = "NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG, BMP or TIFF"
MAGIC = slice(128, 132)


def stem(path: Path) -> str | None:
    """File name without the suffix of a format (in any case), or None for a hidden file or one of no format."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else None


def format_of(path: Path) -> Format:
    """The format of a file, or of a folder (a DICOM series). Raises `InputError` for a missing or unknown one."""
    if suffix := suffix_of(path):
        return BY_SUFFIX[suffix]
    if path.is_dir() or _has_magic(path):
        return DICOM
    found = "a file of unknown format" if path.exists() else "no such file"
    raise InputError(f"{path}: {found}, expected {READABLE}")


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, sorted."""
    return [path for path in sorted(folder.iterdir()) if is_dicom(path)]


def suffix_of(path: Path) -> str:
    """The suffix by which a format is known, in lower case; nothing for a hidden file or one of no format."""
    match = re.fullmatch(r"[^.].*?(" + "|".join(map(re.escape, BY_SUFFIX)) + ")", path.name, re.IGNORECASE)
    return match[1].lower() if match else ""


def is_dicom(path: Path) -> bool:
    """By its suffix, or, of a name without a known suffix (as scanners give them), by its first bytes."""
    suffix = suffix_of(path)
    return BY_SUFFIX[suffix] is DICOM if suffix else path.is_file() and _has_magic(path)


def _has_magic(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(MAGIC.stop)[MAGIC] == b"DICM"
