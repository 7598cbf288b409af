"""MSCMR late-gadolinium images: train/ with _scribble labels, val/ with _manual (dense) labels."""

from pathlib import Path

from pclmix.data.importers.builder import HEART, ImportReport, building, has_known_values, nifti_files, stem
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
            labels = {stem(path): path for path in nifti_files(folder / part / "labels")}
            images = nifti_files(folder / part / "images")
            cases = {stem(path) for path in images}
            for name, path in labels.items():
                if name.removesuffix("_scribble").removesuffix("_manual") not in cases:
                    raise InputError(f"{path}: a label without its image, expected it in {folder / part / 'images'}")
            for path in images:
                case = stem(path)
                builder.add_image(case, case.split("_")[0], [path])
                for suffix, dense, highest in (("_scribble", False, 4), ("_manual", True, 3)):
                    if label := labels.get(case + suffix):
                        has_known_values(label, highest)
                        builder.add_label(case, label, dense=dense)
                if part == "val":
                    builder.val_cases.append(case)
    return report
