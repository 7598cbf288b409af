"""ACDC: patientNNN_frameFF.nii.gz, its _gt beside it, and the experts' _scribble files; nested or flat folders."""

from pathlib import Path

from pclmix.data.importers.builder import (
    HEART,
    ImportReport,
    building,
    files_below,
    has_known_values,
    pair,
    require_images,
)
from pclmix.errors import InputError

CASE = r"(patient\d+_frame\d+)"


def import_acdc(images: Path, scribbles: Path, out: Path, *, overwrite: bool = False) -> ImportReport:
    """Make a dataset folder of ACDC. A frame without a scribble comes in unlabelled."""
    files = files_below(Path(images))
    frames, dense = pair(files, CASE), pair(files, CASE + "_gt")
    if not frames:
        raise InputError(f"{images}: no patientNNN_frameFF.nii.gz, expected ACDC images, nested or flat")
    strokes = pair(files_below(Path(scribbles)), CASE + "_scribble")
    if not strokes:
        raise InputError(f"{scribbles}: no patientNNN_frameFF_scribble.nii.gz, expected the experts' scribbles")
    for labels in (dense, strokes):
        require_images(labels, frames, Path(images))
    report = ImportReport()
    with building(Path(out), "ACDC", HEART, ("MR",), report, overwrite) as builder:
        for case, path in frames.items():
            builder.add_image(case, case.split("_")[0], [path])
            if case in strokes:
                has_known_values(strokes[case], 4)
                builder.add_label(case, strokes[case], dense=False)
            else:
                builder.without_scribble(path, dense=case in dense)
            if case in dense:
                has_known_values(dense[case], 3)
                builder.add_label(case, dense[case], dense=True)
    return report
