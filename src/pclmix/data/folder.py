"""Our dataset folder: nnU-Net's raw layout with the `ignore` label (data.md).

imagesTr/CASE_0000.nii.gz (one file a channel), labelsTr/CASE.nii.gz (scribbles), labelsTr_dense/CASE.nii.gz (only to
evaluate), dataset.json, and optionally val_cases.txt.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pclmix.data.volume import Volume, nifti_files, read_label
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.labels import IGNORE, MAX_CLASSES

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Case:
    """One volume: `images` a channel each, `label` its scribble, `dense` its dense label (either may be missing)."""

    id: str
    patient: str
    images: tuple[Path, ...]
    label: Path | None
    dense: Path | None


@dataclass(frozen=True)
class Dataset:
    """What a dataset folder holds. `classes` maps name to value without ignore; `ignore` is its value on disk;
    `ending` is that of all its files."""

    root: Path
    name: str
    channels: tuple[str, ...]
    classes: dict[str, int]
    ignore: int
    cases: tuple[Case, ...]
    val_cases: tuple[str, ...]
    warnings: tuple[str, ...]
    ending: str


def read_dataset(root: Path) -> Dataset:
    """Read a dataset folder's structure, no voxels. Raises `InputError` on whatever is broken."""
    root = Path(root)
    meta = _read_json(root / "dataset.json")
    channels, classes, ignore, ending = _parse_meta(meta, root / "dataset.json")
    images = _files(root / "imagesTr", ending)
    if not images:
        raise InputError(f"{root / 'imagesTr'}: no *{ending} file, expected CASE_0000{ending} a case")
    labels, dense = _files(root / "labelsTr", ending), _files(root / "labelsTr_dense", ending)
    by_case: dict[str, dict[int, Path]] = {}
    for stem, path in images.items():
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        if not match:
            raise InputError(f"{path}: no channel number in its name, expected CASE_0000{ending}")
        by_case.setdefault(match[1], {})[int(match[2])] = path
    for stem, path in [*labels.items(), *dense.items()]:
        if stem not in by_case:
            raise InputError(f"{path}: a label without its image, expected {root / 'imagesTr'}/{stem}_0000{ending}")
    patients = meta.get("patients")
    warnings = []
    if patients is None:
        warnings.append(f"{root / 'dataset.json'}: no patients, so each case counts as a patient of its own")
        patients = {}
    if not isinstance(patients, dict):
        raise InputError(f"{root / 'dataset.json'}: patients is a {type(patients).__name__}, expected case -> patient")
    unnamed = sorted(set(by_case) - set(patients)) if patients else []
    if unnamed:
        warnings.append(
            f"{root / 'dataset.json'}: patients names no patient of {unnamed[0]} and {len(unnamed) - 1} other cases, "
            "so each of them counts as a patient of its own"
        )
    cases = []
    for case, files in sorted(by_case.items()):
        if sorted(files) != list(range(len(channels))):
            raise InputError(
                f"{root / 'imagesTr'}/{case}: channels {sorted(files)}, expected 0-{len(channels) - 1} (dataset.json)"
            )
        paths = tuple(files[index] for index in sorted(files))
        cases.append(Case(case, str(patients.get(case, case)), paths, labels.get(case), dense.get(case)))
    listed = root / "val_cases.txt"
    val_cases = tuple(_lines(listed)) if listed.exists() else ()
    name = str(meta.get("name", root.resolve().name))
    return Dataset(root, name, channels, classes, ignore, tuple(cases), val_cases, tuple(warnings), ending)


def write_dataset_json(
    root: Path,
    name: str,
    channels: Iterable[str],
    classes: dict[str, int],
    patients: dict[str, str],
    ending: str = ENDINGS[0],
) -> None:
    """Write dataset.json; the ignore label is one above the last class."""
    meta = {
        "name": name,
        "channel_names": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {**classes, "ignore": max(classes.values()) + 1},
        "numTraining": len(patients),
        "file_ending": ending,
        "patients": patients,
    }
    with atomic_path(root / "dataset.json") as temporary:
        temporary.write_text(json.dumps(meta, indent=1), encoding="utf-8")


def read_scribble(dataset: Dataset, case: Case) -> Volume:
    """A case's scribble, uint8: 0..K-1 or IGNORE. Raises `InputError` naming an unknown value."""
    if case.label is None:
        raise InputError(f"{dataset.root / 'labelsTr' / case.id}: no scribble, expected a label file")
    volume = read_label(case.label)
    known = [*dataset.classes.values(), dataset.ignore]
    _require_known(volume, known, f"0-{max(dataset.classes.values())} or {dataset.ignore} (ignore)", dataset.root)
    array = np.where(volume.array == dataset.ignore, IGNORE, volume.array).astype(np.uint8)
    return Volume(array, volume.geometry, volume.path, volume.header)


def read_dense(dataset: Dataset, case: Case) -> Volume:
    """A case's dense label, uint8 0..K-1."""
    if case.dense is None:
        raise InputError(f"{dataset.root / 'labelsTr_dense' / case.id}: no dense label, expected a label file")
    volume = read_label(case.dense)
    _require_known(volume, list(dataset.classes.values()), f"0-{max(dataset.classes.values())}", dataset.root)
    return Volume(volume.array.astype(np.uint8), volume.geometry, volume.path, volume.header)


def patients_from_file(path: Path, dataset: Dataset) -> set[str]:
    """Case ids that a file names, one patient or case id a line (blank lines and # comments aside).

    Raises `InputError` where it names nobody: whoever gives a file would find only after training that nothing was
    scored.
    """
    names = _lines(path)
    if not names:
        raise InputError(f"{path}: names nobody, expected one patient or case id a line")
    return case_ids(names, dataset, str(path))


def listed_val_cases(dataset: Dataset) -> set[str]:
    """Case ids that the data set's own val_cases.txt names."""
    return case_ids(dataset.val_cases, dataset, str(dataset.root / "val_cases.txt"))


def case_ids(names: Iterable[str], dataset: Dataset, where: str) -> set[str]:
    """Case ids of patients or cases by name; `where` names the source in the `InputError` of an unknown one."""
    found: set[str] = set()
    for name in names:
        matching = {case.id for case in dataset.cases if name in (case.id, case.patient)}
        if not matching:
            raise InputError(f"{where}: {name} is neither a patient nor a case of {dataset.root}")
        found |= matching
    return found


def split(dataset: Dataset, val_ids: set[str], train_ids: set[str] | None = None) -> tuple[list[Case], list[Case]]:
    """Cases to train on (scribbled, of no validation patient, and of `train_ids` where given), cases to validate on."""
    train = [case for case in _not_held_out(dataset, val_ids, train_ids) if case.label is not None]
    return train, [case for case in dataset.cases if case.id in val_ids]


def unlabelled_cases(dataset: Dataset, val_ids: set[str], train_ids: set[str] | None = None) -> list[Case]:
    """Cases that nobody annotated, of no validation patient, and of `train_ids` where given.

    A case that has a dense label alone is not among them: it is there to be evaluated on.
    """
    return [case for case in _not_held_out(dataset, val_ids, train_ids) if case.label is None and case.dense is None]


def _not_held_out(dataset: Dataset, val_ids: set[str], train_ids: set[str] | None) -> list[Case]:
    held_out = {case.patient for case in dataset.cases if case.id in val_ids}
    return [
        case for case in dataset.cases if case.patient not in held_out and (train_ids is None or case.id in train_ids)
    ]


def _require_known(volume: Volume, known: list[int], expected: str, root: Path) -> None:
    unknown = sorted(set(np.unique(volume.array).tolist()) - set(known))
    if unknown:
        name = volume.path.relative_to(root) if volume.path.is_relative_to(root) else volume.path
        raise InputError(f"{name}: label {unknown[0]}, expected {expected}")


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Files by name without ending. Raises `InputError` for one case in two formats."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    for path, stem in nifti_files(folder).items():
        if stem in found:
            raise InputError(f"{path}: two files for one case, the other is {found[stem].name}, expected one")
        found[stem] = path
    for path in found.values():
        if not path.name.endswith(ending):
            raise InputError(f"{path}: expected a name that ends in {ending} (file_ending in dataset.json)")
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a dataset folder (see docs/data_format.md)") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(meta, dict):
        raise InputError(f"{path}: found a {type(meta).__name__}, expected a JSON object")
    return meta


def _parse_meta(meta: dict[str, Any], path: Path) -> tuple[tuple[str, ...], dict[str, int], int, str]:
    names = meta.get("channel_names", meta.get("modality"))
    if not isinstance(names, dict) or sorted(names) != sorted(str(i) for i in range(len(names))) or not names:
        raise InputError(f'{path}: channel_names {names!r}, expected {{"0": NAME, ...}}')
    labels = meta.get("labels")
    if not isinstance(labels, dict) or not all(isinstance(value, int) for value in labels.values()):
        raise InputError(f"{path}: labels {labels!r}, expected name -> integer")
    classes = {str(name): value for name, value in labels.items() if name != "ignore"}
    if classes.get("background") != 0 or sorted(classes.values()) != list(range(len(classes))) or len(classes) < 2:
        raise InputError(f"{path}: labels {classes}, expected background 0 and consecutive integers after it")
    if len(classes) > MAX_CLASSES:
        raise InputError(f"{path}: {len(classes)} classes, expected at most {MAX_CLASSES}")
    if labels.get("ignore") != len(classes):
        raise InputError(
            f'{path}: ignore label {labels.get("ignore")}, expected "ignore": {len(classes)} (the highest)'
        )
    ending = meta.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        raise InputError(f"{path}: file_ending {ending!r}, expected one of {', '.join(ENDINGS)}")
    return tuple(str(names[str(i)]) for i in range(len(names))), classes, int(labels["ignore"]), ending


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read ({error}), expected one patient or case id a line") from None
    names = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [name for name in names if name]
