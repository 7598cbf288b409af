"""Builds a dataset folder under a temporary name and renames it when it is whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pclmix.data.folder import write_dataset_json
from pclmix.data.volume import Volume, read_geometry, read_label, write_label
from pclmix.errors import InputError

HEART = {"background": 0, "RV": 1, "Myo": 2, "LV": 3}


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

    def add_image(self, case: str, patient: str, channels: list[Path]) -> None:
        """Copy a case's channels; the first one is opened, so that a damaged file is named at once."""
        if case in self.patients:
            raise InputError(f"{channels[0]}: two images for case {case}, expected one")
        self.patients[case] = patient
        for index, path in enumerate(channels):
            read_geometry(path)
            _place(path, self.root / "imagesTr" / f"{case}_{index:04d}.nii.gz")

    def add_label(self, case: str, path: Path, *, dense: bool) -> None:
        """Copy a label file as it is."""
        read_geometry(path)
        _place(path, self.root / ("labelsTr_dense" if dense else "labelsTr") / f"{case}.nii.gz")

    def add_mapped_label(self, case: str, label: Volume, array: NDArray[np.uint8]) -> None:
        """Write a scribble whose values had to be changed."""
        write_label(self.root / "labelsTr" / f"{case}.nii.gz", array, label)


@contextmanager
def building(
    out: Path, name: str, classes: dict[str, int], channels: tuple[str, ...], report: ImportReport, overwrite: bool
) -> Iterator[Builder]:
    """A builder whose folder becomes `out` at the end; on failure nothing is left and what was there stays."""
    out = Path(out)
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
        if out.exists():  # moved aside first: killed in between, one of the two is whole
            os.replace(out, replaced)
        os.replace(temporary, out)
        report.cases = len(builder.patients)
        report.warnings = builder.warnings
    except OSError as error:
        raise InputError(f"{out}: cannot write ({error.strerror or error}), expected a disk with room") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if out.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def nifti_files(folder: Path) -> list[Path]:
    """All NIfTI files below a folder, sorted. Raises `InputError` where there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return sorted(p for p in folder.rglob("*.nii*") if p.name.endswith((".nii.gz", ".nii")) and p.is_file())


def stem(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def has_known_values(path: Path, highest: int) -> None:
    """Raise `InputError` unless the label file holds 0..highest only."""
    values = np.unique(read_label(path).array)
    if values.min() < 0 or values.max() > highest:
        wrong = values[(values < 0) | (values > highest)][0]
        raise InputError(f"{path}: label {wrong}, expected 0-{highest}")


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name.endswith(".gz"):
        shutil.copyfile(source, target)
    else:
        import gzip

        with source.open("rb") as file, gzip.open(target, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(file, packed)
