"""ACDC: patientNNN_frameFF.nii.gz, its _gt beside it, and the experts' _scribble files; nested or flat folders."""

import re
from pathlib import Path

from pclmix.data.importers.builder import HEART, ImportReport, building, has_known_values, nifti_files, stem
from pclmix.errors import InputError


def import_acdc(images: Path, scribbles: Path, out: Path, *, overwrite: bool = False) -> ImportReport:
    """Make a dataset folder of ACDC. A frame without a scribble comes in unlabelled."""
    frames: dict[str, Path] = {}
    dense: dict[str, Path] = {}
    strokes: dict[str, Path] = {}
    for path in nifti_files(Path(images)):
        if match := re.fullmatch(r"(patient\d+)_frame\d+(_gt)?", stem(path)):
            target = dense if match[2] else frames
            case = stem(path).removesuffix("_gt")
            if case in target:
                raise InputError(f"{path}: two files for one case, the other is {target[case]}, expected one")
            target[case] = path
    if not frames:
        raise InputError(f"{images}: no patientNNN_frameFF.nii.gz, expected ACDC images, nested or flat")
    for path in nifti_files(Path(scribbles)):
        if re.fullmatch(r"patient\d+_frame\d+_scribble", stem(path)):
            case = stem(path).removesuffix("_scribble")
            if case in strokes:
                raise InputError(f"{path}: two files for one case, the other is {strokes[case]}, expected one")
            if case not in frames:
                raise InputError(f"{path}: a scribble without its image, expected {case}.nii.gz in {images}")
            strokes[case] = path
    if not strokes:
        raise InputError(f"{scribbles}: no patientNNN_frameFF_scribble.nii.gz, expected the experts' scribbles")
    report = ImportReport()
    with building(Path(out), "ACDC", HEART, ("MR",), report, overwrite) as builder:
        for case, path in frames.items():
            builder.add_image(case, case.split("_")[0], [path])
            if case in strokes:
                has_known_values(strokes[case], 4)
                builder.add_label(case, strokes[case], dense=False)
            else:
                builder.warnings.append(f"{path}: no scribble, so it is not trained on")
            if case in dense:
                builder.add_label(case, dense[case], dense=True)
    return report
