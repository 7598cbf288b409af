"""Made-up data to measure on. Everything lies in the temporary folder of the benchmark's process and goes with it."""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from pclmix.data.folder import write_dataset_json
from pclmix.data.phantom import CLASSES, IGNORE_ON_DISK, make_heart

SPACING = (1.5, 1.5, 10.0)
"""mm: row, column, slice, near the middle of ACDC's."""
PIXELS = (1.37, 1.5, 1.56, 1.68)
"""mm, of which cases have one after the other, so that most of them are resampled."""


def folder() -> Path:
    """A new empty folder."""
    return Path(tempfile.mkdtemp())


def acdc_like(root: Path, cases: int, size: tuple[int, int] = (256, 216), slices: int = 10) -> Path:
    """A dataset folder of phantom hearts with the shape, type (int16) and compression of ACDC's files.

    Four different hearts are enough: the others are shifted copies, so that no two files have the same content.
    """
    hearts = [make_heart(seed, size, slices) for seed in range(min(4, cases))]
    patients = {}
    for index in range(cases):
        heart, shift = hearts[index % 4], index // 4
        case = f"patient{index // 2 + 1:04d}_frame{index % 2 + 1:02d}"
        patients[case] = case.split("_")[0]
        spacing = (PIXELS[index % 4], PIXELS[index % 4], SPACING[2])
        image = heart.image.clip(0).astype(np.int16)
        for path, array in (
            (root / "imagesTr" / f"{case}_0000.nii.gz", image),
            (root / "labelsTr" / f"{case}.nii.gz", heart.scribble),
            (root / "labelsTr_dense" / f"{case}.nii.gz", heart.truth),
        ):
            write(path, np.roll(array, shift, axis=1), spacing)
    write_dataset_json(root, "phantom", ("MR",), CLASSES, patients)
    assert max(CLASSES.values()) + 1 == IGNORE_ON_DISK
    return root


def write(path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float] = SPACING) -> None:
    """Write a volume, (row, column, slice)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
