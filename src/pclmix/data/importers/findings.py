"""The report of an import: what was paired and how, what the values mean, what is odd, and a picture to check it by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pclmix.data.importers.builder import UNLABELLED
from pclmix.data.importers.contact_sheet import NOT_SAID
from pclmix.data.importers.meanings import Meanings
from pclmix.data.importers.pairing import Pairing
from pclmix.data.importers.survey import Survey
from pclmix.errors import some
from pclmix.report.document import Block, Cell, Heading, Items, Picture, Table, Text

TITLE = "What was found in the images and labels"

SHEET_TEXT = (
    "Up to 12 cases, up to 3 slices each, the strokes in colour. Check that strokes and structures belong together "
    "(pairing), that strokes lie on their structures and not mirrored or turned beside them (geometry), and that each "
    "colour has the right name (values). Volumes are shown as radiologists do, the patient's right at the left; "
    "strokes of large images are drawn broader than they are."
)


@dataclass(frozen=True)
class Folders:
    """All that was read of a folder of images and one of labels. `channels` are names; `patients`: case -> patient."""

    pairing: Pairing
    channels: tuple[str, ...]
    patients: Mapping[str, str]
    survey: Survey


def find_warnings(folders: Folders, meanings: Meanings) -> list[str]:
    """What is odd but does not forbid an import: each case a patient, unlabelled cases, empty labels, values that
    become others, and classes that nobody drew. Of a value whose meaning is not said yet nothing is supposed."""
    pairing, survey, patients = folders.pairing, folders.survey, folders.patients
    labels, found = pairing.labels, {facts.value for facts in survey.values}
    all_said = all(meanings.of(value) is not None for value in found)
    lines = []
    if all(case == patient for case, patient in patients.items()):
        lines.append("each case counts as a patient of its own; say --patients or --patient-pattern if not so")
    lines += [
        f"{pair.images[0]}: no label of this name in {labels}, so it is {UNLABELLED}"
        for pair in pairing.pairs
        if pair.label is None
    ]
    if empty := unpainted(survey, meanings):
        lines.append(f"{labels}: nothing is painted in {some(empty)}, so it is {UNLABELLED}")
    if all_said and meanings.background not in found:
        lines.append(
            f"{labels}: no stroke on the background, so a model has nothing to tell the structures from; paint some "
            "near the structures with a value of their own (--background V)"
        )
    if all_said and meanings.unlabelled not in found:
        lines.append(f"{labels}: no pixel is unlabelled; are these dense labels rather than scribbles?")
    if all_said and meanings.renumbered:
        becomes = ", ".join(f"{name} {value} becomes {label}" for name, (value, label) in meanings.renumbered.items())
        lines.append(
            f"{labels}: structures get other values in the data set: {becomes}; predictions carry the new ones, as a "
            "truth to evaluate them by must (docs/own-data.md says how)"
        )
    lines += [
        f"{labels}: {name} (value {value}) is in no label"
        for name, value in meanings.structures.items()
        if value not in found
    ]
    return lines


def unpainted(survey: Survey, meanings: Meanings) -> list[str]:
    """Cases in whose label nothing is painted."""
    return [case for case, counts in survey.counts.items() if set(counts) == {meanings.unlabelled}]


def report_blocks(folders: Folders, meanings: Meanings, warnings: Sequence[str]) -> list[Block]:
    """The beginning of the report: counts, values, what is wrong and what is odd."""
    pairing, survey, channels = folders.pairing, folders.survey, folders.channels
    told = f"{len(channels)} channel{'s' if len(channels) > 1 else ''} each ({', '.join(channels)})"
    blocks: list[Block] = [
        Text(f"Images: {pairing.images}. Labels: {pairing.labels}."),
        Text(
            f"{len(pairing.pairs)} cases of {len(set(folders.patients.values()))} patients, {told}; "
            f"{len(pairing.labelled)} with a label."
        ),
        Heading("Values in the labels"),
        _value_table(survey, meanings),
    ]
    if meanings.flags():
        blocks.append(Text(f"Said so far: {meanings.flags()}"))
    for heading, lines in (("Problems", survey.problems), ("Warnings", warnings)):
        if lines:
            blocks += [Heading(heading), Items(tuple(lines))]
    return blocks


def sheet_blocks(picture: str) -> list[Block]:
    """The contact sheet; `picture` is its address."""
    return [Heading("Strokes"), Picture(picture, SHEET_TEXT)]


def pair_blocks(folders: Folders) -> list[Block]:
    """The files, each with its partner and the rule that found it, and those without one."""
    pairing, patients = folders.pairing, folders.patients
    rows = []
    for pair in pairing.pairs:
        images = ", ".join(_name(path, pairing.images) for path in pair.images)
        label = "none" if pair.label is None else _name(pair.label, pairing.labels)
        rows.append((pair.case, patients[pair.case], images, label, pair.rule or "no label of this name"))
    rows += [("", "", "none", _name(path, pairing.labels), "no image of this name") for path in pairing.alone]
    header = ("case", "patient", "image", "label", "paired by")
    return [Heading("Pairs"), _table("pairs", "Files paired by their names.", header, rows)]


def _value_table(survey: Survey, meanings: Meanings) -> Table:
    """Each value that occurs: how often, in how many cases, what it is taken for."""
    numbers = meanings.classes
    rows = []
    for facts in survey.values:
        name = meanings.of(facts.value)
        told = NOT_SAID if name is None else f"{name}, label {numbers[name]}" if name in numbers else "nobody looked"
        cases = f"{facts.cases} of {len(survey.counts)}"
        rows.append((str(facts.value), str(facts.voxels), f"{facts.share:.3%}", cases, told))
    return _table("values", "Every value that occurs.", ("value", "voxels", "share", "cases", "taken for"), rows)


def shares(survey: Survey) -> str:
    """The values and their shares in one line."""
    return ", ".join(f"{facts.value}: {facts.share:.2%}" for facts in survey.values)


def _table(name: str, caption: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(name, caption, header, tuple(tuple(Cell(text) for text in row) for row in rows))


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path != folder else path.name
