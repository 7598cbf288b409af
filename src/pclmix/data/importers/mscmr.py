"""MSCMR late-gadolinium images: train/ with _scribble labels, val/ with _manual (dense) labels."""

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


def import_mscmr(folder: Path, out: Path, *, overwrite: bool = False) -> ImportReport:
    """Make a dataset folder of MSCMR; the subjects of val/ are listed in val_cases.txt and never trained on."""
    folder = Path(folder)
    report = ImportReport()
    if not (folder / "train" / "images").is_dir():
        raise InputError(f"{folder}: no train/images, expected the MSCMR layout (train/ and val/)")
    with building(Path(out), "MSCMR", HEART, ("MR",), report, overwrite) as builder:
        for part in ("train", "val"):
            if not (folder / part / "images").is_dir():
                continue
            images = pair(files_below(folder / part / "images"), "(.+)")
            files = files_below(folder / part / "labels")
            strokes, dense = pair(files, "(.+)_scribble"), pair(files, "(.+)_manual")
            for labels in (strokes, dense):
                require_images(labels, images, folder / part / "images")
            for case, path in images.items():
                builder.add_image(case, case.split("_")[0], [path])
                for labels, is_dense, highest in ((strokes, False, 4), (dense, True, 3)):
                    if label := labels.get(case):
                        has_known_values(label, highest)
                        builder.add_label(case, label, dense=is_dense)
                if part == "val":
                    builder.val_cases.append(case)
                elif case not in strokes:
                    builder.without_scribble(path, dense=case in dense)
    return report
