"""Builds a dataset folder under a temporary name and renames it when it is whole."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pclmix.data.folder import write_dataset_json
from pclmix.data.formats.listing import entries
from pclmix.data.volume import (
    Volume,
    nifti_stem,
    read_geometry,
    read_label,
    read_stored,
    spacing_warning,
    write_array,
    write_label,
)
from pclmix.errors import InputError

HEART = {"background": 0, "RV": 1, "Myo": 2, "LV": 3}
UNLABELLED = "unlabelled: only methods that use such cases train on it (pclmix does)"
"""What becomes of a case that nobody painted, in a warning."""


@dataclass
class ImportReport:
    """What an importer made."""

    cases: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Builder:
    """Adds cases to the folder being made."""

    root: Path
    patients: dict[str, str] = field(default_factory=dict)
    val_cases: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    told_of_spacing: bool = False

    def add_image(self, case: str, patient: str, channels: list[Path]) -> None:
        """Add a case's channels: NIfTI is copied, its header opened so that a damaged file is named at once; what else
        there is, is converted, an RGB image to three channels."""
        if case in self.patients:
            raise InputError(f"{channels[0]}: two images for case {case}, expected one")
        self.patients[case] = patient
        count = 0
        for path in channels:
            if nifti_stem(path) is not None:
                read_geometry(path)
                _place(path, self._channel(case, count))
                count += 1
                continue
            volumes = read_stored(path)
            if not self.told_of_spacing and (warning := spacing_warning(volumes)):
                self.warnings.append(warning)
                self.told_of_spacing = True
            for volume in volumes:
                write_array(self._channel(case, count), _storable(volume.array), volume, {})
                count += 1

    def add_label(self, case: str, path: Path, *, dense: bool) -> None:
        """Copy a label file as it is, or convert it."""
        target = self.root / ("labelsTr_dense" if dense else "labelsTr") / f"{case}.nii.gz"
        if nifti_stem(path) is None:
            label = read_label(path)
            write_label(target, label.array, label)
            return
        read_geometry(path)
        _place(path, target)

    def without_scribble(self, image: Path, *, dense: bool) -> None:
        """Warn of what becomes of a case that has no scribble; `dense`: it has a dense label."""
        fate = "not trained on" if dense else UNLABELLED
        self.warnings.append(f"{image}: no scribble, so it is {fate}")

    def add_mapped_label(self, case: str, label: Volume, array: NDArray[np.uint8]) -> None:
        """Write a scribble whose values had to be changed."""
        write_label(self.root / "labelsTr" / f"{case}.nii.gz", array, label)

    def _channel(self, case: str, index: int) -> Path:
        return self.root / "imagesTr" / f"{case}_{index:04d}.nii.gz"


@contextmanager
def building(
    out: Path, name: str, classes: dict[str, int], channels: tuple[str, ...], report: ImportReport, overwrite: bool
) -> Iterator[Builder]:
    """A builder whose folder becomes `out` at the end; on failure nothing is left and what was there stays."""
    out = Path(os.path.abspath(out))  # "." has no name to make a temporary one of
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise InputError(f"{out}: the output folder is not empty, expected an empty one (or --overwrite)")
    if out.exists() and any(out.iterdir()) and not (out / "dataset.json").exists():
        raise InputError(f"{out}: holds no dataset.json, so it is not replaced; expected a dataset folder to overwrite")
    temporary, replaced = (out.with_name(f".{what}-{os.getpid()}-{out.name}") for what in ("importing", "replaced"))
    try:
        (temporary / "imagesTr").mkdir(parents=True)
        builder = Builder(temporary)
        yield builder
        if not builder.patients:
            raise InputError(f"{out}: nothing to import was found, expected at least one image")
        write_dataset_json(temporary, name, channels, classes, builder.patients)
        if builder.val_cases:
            (temporary / "val_cases.txt").write_text("\n".join(sorted(builder.val_cases)) + "\n", encoding="utf-8")
        if out.exists() and any(out.iterdir()):  # moved aside first: killed in between, one of the two is whole
            _move_content(out, replaced)
        _move_content(temporary, out)
        shutil.rmtree(replaced, ignore_errors=True)  # only now: where a move failed, what lies there is the user's
        report.cases = len(builder.patients)
        report.warnings = builder.warnings
    except OSError as error:
        raise InputError(f"{out}: cannot write ({error.strerror or error}), expected a disk with room") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_content(source: Path, target: Path) -> None:
    """Move what a folder holds, dataset.json last, since it makes a folder a data set. The folders themselves stay what
    they are, so that whoever stands in one still stands in it."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: path.name == "dataset.json"):
        os.replace(path, target / path.name)


def files_below(folder: Path) -> dict[Path, str]:
    """All images and labels in and below a folder, links followed, with their stems, sorted; a DICOM series is the
    folder it lies in.

    Raises `InputError` where a folder is missing or cannot be read, so that nothing is left out without a word.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot read ({error.strerror}), expected a folder of images")

    found: dict[Path, str] = {}
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        found |= entries(Path(place), names)
    return dict(sorted(found.items()))


def pair(files: Mapping[Path, str], pattern: str) -> dict[str, Path]:
    """Files whose stem matches `pattern`, by its first group, the case. Raises `InputError` for two of one case."""
    found: dict[str, Path] = {}
    for path, stem in files.items():
        if match := re.fullmatch(pattern, stem):
            if match[1] in found:
                raise InputError(f"{path}: two files for case {match[1]}, the other is {found[match[1]]}, expected one")
            found[match[1]] = path
    return found


def require_images(labels: Mapping[str, Path], images: Mapping[str, object], folder: Path) -> None:
    """Raise `InputError` for a label whose case has no image."""
    for case, path in labels.items():
        if case not in images:
            raise InputError(f"{path}: a label without its image, expected {case}.nii.gz in {folder}")


def has_known_values(path: Path, highest: int) -> None:
    """Raise `InputError` unless the label file holds 0..highest only."""
    values = np.unique(read_label(path).array)
    if values.min() < 0 or values.max() > highest:
        wrong = values[(values < 0) | (values > highest)][0]
        raise InputError(f"{path}: label {wrong}, expected 0-{highest}")


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """An array in a type that NIfTI readers know: 64-bit integers and half floats become float64 and float32."""
    if array.dtype in (np.int64, np.uint64):
        return array.astype(np.float64)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name.lower().endswith(".gz"):
        shutil.copyfile(source, target)
    else:
        import gzip

        with source.open("rb") as file, gzip.open(target, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(file, packed)
