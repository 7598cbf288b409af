"""The h5 layout that WSL4MIS and PCLMix readers expect. It holds no spacing, so the user gives it."""

import math
import re
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from pclmix.data.importers.builder import HEART, ImportReport, building
from pclmix.data.importers.tables import csv_rows
from pclmix.errors import InputError

Spacing = tuple[float, float, float]


def import_wsl4mis(folder: Path, out: Path, *, spacing: str, overwrite: bool = False) -> ImportReport:
    """Make a dataset folder of ACDC_training_volumes/*.h5 (and of slices whose volume is missing).

    `spacing`: "Z,Y,X" in mm, or the path of a CSV with a line CASE,Z,Y,X each. Volumes of the h5 layout are
    (slices, rows, columns); they are written with the slices on the last axis, as NIfTI has them.
    """
    folder = Path(folder)
    lookup = _spacing_lookup(spacing)
    cases: dict[str, dict[str, NDArray[Any]]] = {}
    for path in sorted((folder / "ACDC_training_volumes").glob("*.h5")):
        cases[path.stem] = _read(path, ndim=3)
    cases |= _assembled(folder / "ACDC_training_slices", set(cases))
    if not cases:
        raise InputError(f"{folder}: no *.h5 in ACDC_training_volumes/ or ACDC_training_slices/")
    report = ImportReport()
    with building(Path(out), folder.name, HEART, ("MR",), report, overwrite) as builder:
        for case, arrays in sorted(cases.items()):
            z, y, x = lookup(case)
            parts = {
                "image": (builder.root / "imagesTr" / f"{case}_0000.nii.gz", np.float32),
                "scribble": (builder.root / "labelsTr" / f"{case}.nii.gz", np.uint8),
                "label": (builder.root / "labelsTr_dense" / f"{case}.nii.gz", np.uint8),
            }
            builder.patients[case] = case.split("_")[0]
            for key, (target, dtype) in parts.items():
                if key not in arrays:
                    continue
                target.parent.mkdir(exist_ok=True)
                image = nib.Nifti1Image(np.moveaxis(arrays[key], 0, -1).astype(dtype), np.diag([y, x, z, 1.0]))
                image.header.set_xyzt_units("mm")
                nib.save(image, target)
    return report


def _spacing_lookup(text: str) -> Any:
    numbers = _triple(text.split(","))
    if numbers:
        return lambda case: numbers
    path = Path(text)
    if not path.is_file():
        raise InputError(f"--spacing {text}: expected Z,Y,X in mm or a CSV file with a line CASE,Z,Y,X each")
    rows = csv_rows(path, "a CSV file with a line CASE,Z,Y,X each")
    table = {row[0]: _triple(row[1:]) for row in rows if len(row) >= 4}

    def find(case: str) -> Spacing:
        found = table.get(case)
        if found is None:
            raise InputError(f"{path}: no line {case},Z,Y,X, expected one a case")
        return found

    return find


def _triple(parts: list[str]) -> Spacing | None:
    try:
        z, y, x = (float(part) for part in parts)
    except ValueError:
        return None
    return (z, y, x) if all(math.isfinite(size) and size > 0 for size in (z, y, x)) else None


def _read(path: Path, ndim: int) -> dict[str, NDArray[Any]]:
    try:
        with h5py.File(path, "r") as file:
            arrays = {key: np.asarray(file[key]) for key in ("image", "scribble", "label") if key in file}
    except OSError as error:
        raise InputError(f"{path}: not a readable h5 file ({str(error)[:100]})") from None
    if "image" not in arrays:
        raise InputError(f"{path}: no dataset `image`, expected image, label and scribble")
    for key, array in arrays.items():
        if array.ndim != ndim or array.shape != arrays["image"].shape or array.size == 0:
            raise InputError(f"{path}: {key} of shape {array.shape}, expected {ndim}-D like the image")
        highest = {"scribble": 4, "label": 3}.get(key)
        if highest is not None and not np.isin(array, np.arange(highest + 1)).all():
            wrong = array[~np.isin(array, np.arange(highest + 1))].flat[0]
            raise InputError(f"{path}: {key} holds {wrong}, expected 0-{highest}")
    return arrays


def _assembled(folder: Path, known: set[str]) -> dict[str, dict[str, NDArray[Any]]]:
    """Volumes put together from slices CASE_slice_K.h5, for cases that have no volume file."""
    parts: dict[str, dict[int, Path]] = {}
    for path in folder.glob("*_slice_*.h5"):
        match = re.fullmatch(r"(.+)_slice_(\d+)", path.stem)
        if match and match[1] not in known:
            parts.setdefault(match[1], {})[int(match[2])] = path
    volumes = {}
    for case, files in parts.items():
        if sorted(files) != list(range(len(files))):
            raise InputError(f"{folder}/{case}: slices {sorted(files)}, expected 0-{len(files) - 1} without a gap")
        slices = [_read(files[index], ndim=2) for index in range(len(files))]
        for index, part in enumerate(slices):
            if part.keys() != slices[0].keys() or part["image"].shape != slices[0]["image"].shape:
                found = f"{', '.join(part)} of shape {part['image'].shape}"
                expected = f"{', '.join(slices[0])} of shape {slices[0]['image'].shape} as in {files[0].name}"
                raise InputError(f"{files[index]}: {found}, expected {expected}")
        volumes[case] = {key: np.stack([part[key] for part in slices]) for key in slices[0]}
    return volumes
