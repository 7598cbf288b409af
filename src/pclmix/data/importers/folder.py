"""Anybody's images and scribbles. What 0 means is never guessed: painting tools and research data disagree on it."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pclmix.data.importers.builder import Builder, ImportReport, building
from pclmix.data.importers.channels import channel_names
from pclmix.data.importers.contact_sheet import draw_sheet
from pclmix.data.importers.dialogue import Ask, ask_meanings
from pclmix.data.importers.findings import (
    TITLE,
    Folders,
    find_warnings,
    pair_blocks,
    report_blocks,
    shares,
    sheet_blocks,
    unpainted,
)
from pclmix.data.importers.meanings import Meanings, as_told
from pclmix.data.importers.meanings import parse_classes as parse_classes
from pclmix.data.importers.pairing import find_pairs
from pclmix.data.importers.patients import find_patients
from pclmix.data.importers.survey import read_case, read_survey
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.pages import write_body
from pclmix.pictures import png
from pclmix.report.document import Block, to_html, to_markdown, write_text

PAGE = "import_report.html"
"""The report, in the data set, and in the folder of a dry run, where import_report.md and contact_sheet.png lie too."""


@dataclass(frozen=True)
class Inspection:
    """What a dry run found. `text` is the report in Markdown, `files` are those it wrote."""

    text: str
    problems: list[str]
    files: list[Path]


def import_folder(
    images: Path,
    labels: Path,
    out: Path,
    *,
    classes: dict[str, int] | None = None,
    unlabelled: int | None = None,
    background: int | None = None,
    channels: Sequence[str] | None = None,
    patients: Path | None = None,
    patient_pattern: str | None = None,
    ask: Ask | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Make a dataset folder of images (CASE.nii.gz or CASE_0000.nii.gz, ...) and label files of the same names, of any
    format that is read; an RGB image is three channels. A case in whose label nothing is painted gets none, so that it
    is unlabelled. The report import_report.html goes into it.

    A segment of a .seg.nrrd or DICOM SEG that has a class's name, or is named background, is that class, whatever its
    value (see `by_name`).
    Every value in the labels must be a class, `background` or `unlabelled`; the latter two may also be given as classes
    of these names. Classes are numbered by their values, in whatever order they are given. What is not said is asked
    for by `ask`, with a contact sheet beside `out`; without `ask` it raises `InputError` naming the values found.
    `channels` are names in the order of a case's files (see `channel_names`); one named CT is normalised as such.
    `patients` is a CSV file, `patient_pattern` a regular expression (see `find_patients`).
    """
    out = Path(out)
    if out.is_dir() and any(out.iterdir()) and not overwrite:  # before any question; `building` looks again
        raise InputError(f"{out}: the output folder is not empty, expected an empty one (or --overwrite)")
    told = as_told(classes, unlabelled, background)
    folders = _read(images, labels, told, channels, patients, patient_pattern)
    if problems := folders.survey.problems:
        more = f" (and {len(problems) - 1} more, see --dry-run)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
    meanings = _complete(told, folders, out, ask)
    report = ImportReport()
    with building(out, out.name, meanings.classes, folders.channels, report, overwrite) as builder:
        builder.warnings += find_warnings(folders, meanings)
        _add_cases(builder, folders, meanings)
        sheet = sheet_blocks(_embedded(_sheet(folders, meanings)))
        blocks = report_blocks(folders, meanings, builder.warnings)
        _write_page(builder.root / PAGE, [*blocks, *sheet, *pair_blocks(folders)])
    return report


def inspect_folder(
    images: Path,
    labels: Path,
    out: Path,
    *,
    classes: dict[str, int] | None = None,
    unlabelled: int | None = None,
    background: int | None = None,
    channels: Sequence[str] | None = None,
    patients: Path | None = None,
    patient_pattern: str | None = None,
) -> Inspection:
    """What `import_folder` would find, and all that is wrong, without a data set: the report and the contact sheet go
    into the folder OUT_report beside `out`, where those of an earlier look are replaced. No meaning need be said."""
    told = as_told(classes, unlabelled, background)
    folders = _read(images, labels, told, channels, patients, patient_pattern)
    blocks = report_blocks(folders, told, find_warnings(folders, told))
    place = _beside(out, "_report")
    pairs, files, shown, embedded = pair_blocks(folders), [], [], []
    if folders.survey.shown:
        sheet = _sheet(folders, told)
        files.append(_write_bytes(place / "contact_sheet.png", sheet))
        shown, embedded = sheet_blocks("contact_sheet.png"), sheet_blocks(_embedded(sheet))
    _write_page(place / PAGE, [*blocks, *embedded, *pairs])
    files += [place / PAGE, write_text(place / "import_report.md", to_markdown(TITLE, [*blocks, *shown, *pairs]))]
    return Inspection(to_markdown(TITLE, [*blocks, *pairs]), folders.survey.problems, files)


def _read(
    images: Path,
    labels: Path,
    told: Meanings,
    channels: Sequence[str] | None,
    patients: Path | None,
    patient_pattern: str | None,
) -> Folders:
    """Pair the files, name channels and patients, and read every file once."""
    pairing = find_pairs(Path(images), Path(labels))
    names = channel_names(pairing, channels)
    by_case = find_patients([pair.case for pair in pairing.pairs], patients, patient_pattern)
    return Folders(pairing, names, by_case, read_survey(pairing, told))


def _add_cases(builder: Builder, folders: Folders, meanings: Meanings) -> None:
    """Add the images, and the labels in the values of the data set."""
    for pair in folders.pairing.pairs:
        builder.add_image(pair.case, folders.patients[pair.case], list(pair.images))
    empty = unpainted(folders.survey, meanings)  # with a label file they would not count as unlabelled
    for pair, path in folders.pairing.labelled:
        if pair.case in empty:
            continue
        label = read_case(folders.survey, pair.case, path)
        mapped = np.zeros(label.array.shape, np.uint8)
        for value, index in meanings.labels.items():
            mapped[label.array == value] = index
        builder.add_mapped_label(pair.case, label, mapped)


def _complete(told: Meanings, folders: Folders, out: Path, ask: Ask | None) -> Meanings:
    """The meanings of all values that occur, asked for where they are not told. Raises `InputError` without `ask`."""
    pairing, survey = folders.pairing, folders.survey
    unknown = [facts.value for facts in survey.values if told.of(facts.value) is None]
    if told.structures and not unknown:
        return told
    found = f"shares of the voxels: {shares(survey)}"
    if not unknown:
        raise InputError(f"{pairing.labels}: no value is a structure ({found}), expected one in --classes NAME=V,...")
    if ask is not None:
        sheet = _beside(out, "_contact_sheet.png")
        _write_bytes(sheet, _sheet(folders, told))
        meanings = ask_meanings(told, survey, sheet, ask)
        sheet.unlink(missing_ok=True)  # the data set will hold one with the names; who stops at a question keeps this
        return meanings
    if not told.structures:
        raise InputError(
            f"--classes: not given, and there is no terminal to ask at; {pairing.labels} holds ({found}), expected "
            "NAME=V,... for the structures among them (--dry-run draws them)"
        )
    free = (("--unlabelled", told.unlabelled), ("--background", told.background))
    flags = " or ".join(flag for flag, value in free if value is None) or "--classes"
    raise InputError(
        f"{pairing.labels}: value {unknown[0]} has no meaning ({found}), expected {flags} to say what it is "
        "(--dry-run draws it)"
    )


def _beside(out: Path, ending: str) -> Path:
    """A path beside `out`, so that `out` itself holds a whole data set or nothing."""
    path = Path(os.path.abspath(out))
    return path.with_name(path.name + ending)


def _sheet(folders: Folders, meanings: Meanings) -> bytes:
    """The contact sheet as a PNG."""
    return png(draw_sheet(folders.survey.shown, meanings, folders.survey.by_size))


def _embedded(picture: bytes) -> str:
    """A PNG as an address that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _write_page(path: Path, blocks: Sequence[Block]) -> None:
    write_body(path, TITLE, to_html(blocks))


def _write_bytes(path: Path, content: bytes) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path
