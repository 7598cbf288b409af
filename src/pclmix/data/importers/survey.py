"""Reads every image and label of a pairing once: the values in the labels, what is wrong, slices to show."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pclmix.data.grid import Volume, onto_grid, require_same_grid
from pclmix.data.importers.contact_sheet import Shown, chosen_cases, slices_of
from pclmix.data.importers.meanings import Meanings
from pclmix.data.importers.pairing import Pair, Pairing
from pclmix.data.importers.segments import by_name
from pclmix.data.volume import FEW, few_values, read_channels, read_label
from pclmix.errors import InputError


@dataclass(frozen=True)
class ValueFacts:
    """A value in the labels: the number of its voxels, their share of all, the number of cases that have it."""

    value: int
    voxels: int
    share: float
    cases: int


@dataclass
class Survey:
    """What the labels hold. `counts`: case -> value -> voxels, of the cases that can be read; `named`: names and values
    of segments, by which labels are read; `grids`: case -> its image without voxels; `problems` forbid an import."""

    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    grids: dict[str, Volume] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[ValueFacts]:
        """The values that occur, the lowest first."""
        total = sum(sum(counts.values()) for counts in self.counts.values())
        found = []
        for value in sorted({value for counts in self.counts.values() for value in counts}):
            sizes = [counts[value] for counts in self.counts.values() if value in counts]
            found.append(ValueFacts(value, sum(sizes), sum(sizes) / total, len(sizes)))
        return found

    @property
    def by_size(self) -> list[int]:
        """The values that occur, the commonest first."""
        return [facts.value for facts in sorted(self.values, key=lambda facts: (-facts.voxels, facts.value))]


def read_survey(pairing: Pairing, told: Meanings) -> Survey:
    """Read all cases, their images even where there is no label, since training reads them. What is wrong with one is a
    problem, and the others are read all the same."""
    survey = Survey(named=dict(told.named), problems=list(pairing.problems))
    sheet = set(chosen_cases([pair.case for pair, _ in pairing.labelled]))
    for pair in pairing.pairs:
        try:
            channels = _read_images(pair)
            if pair.label is not None:
                _survey_label(survey, told, pair, pair.label, channels, shown=pair.case in sheet)
        except InputError as error:
            survey.problems.append(str(error))
    values = survey.by_size
    if len(values) == 1 and not survey.problems:
        survey.problems.append(
            f"{pairing.labels}: every voxel of every label is {values[0]}, so nothing is painted; "
            "expected strokes (was the painting saved, and is this the folder it was saved to?)"
        )
    return survey


def read_case(survey: Survey, case: str, label: Path) -> Volume:
    """A label of a case that was surveyed, once more, on the grid of its image."""
    return onto_grid(survey.grids[case], by_name(read_label(label), survey.named))


def _read_images(pair: Pair) -> list[Volume]:
    """The channels of a case's first file; the other files are read to know that they are whole and of its grid."""
    first = read_channels(pair.images[0])
    for path in pair.images[1:]:
        require_same_grid(first[0], read_channels(path)[0])
    return first


def _survey_label(
    survey: Survey, told: Meanings, pair: Pair, path: Path, channels: list[Volume], *, shown: bool
) -> None:
    try:
        label = read_label(path)
    except InputError as error:
        raise InputError(_swapped(pair.images[0], path) or str(error)) from None
    if not told.structures:
        _learn_names(survey.named, label)
    first = channels[0]
    survey.grids[pair.case] = replace(first, array=np.broadcast_to(np.uint8(0), first.array.shape))
    label = onto_grid(survey.grids[pair.case], by_name(label, survey.named))
    values, sizes = np.unique(label.array, return_counts=True)
    strange = [value for value in values.tolist() if told.of(value) is None]
    if len(strange) > FEW:
        raise InputError(_swapped(pair.images[0], path) or _no_labels(path, strange))
    survey.counts[pair.case] = dict(zip(values.tolist(), sizes.tolist(), strict=True))
    if shown:
        survey.shown += slices_of(pair.case, channels, label)


def _learn_names(named: dict[str, int], label: Volume) -> None:
    """Add the segments of a label to the names known so far; one whose value another name has gets a free one."""
    known = {name.casefold() for name in named}
    for name, value in (label.segments or {}).items():
        if name.strip().casefold() not in known:
            known.add(name.strip().casefold())
            named[name.strip()] = value if value not in named.values() else max(named.values()) + 1


def _swapped(image: Path, label: Path) -> str | None:
    """The line to say where the image holds few values as a label would, else None."""
    values = few_values(image)
    if values is None:
        return None
    return (
        f"{label}: looks like an image, and {image} like a label (values {_some(values)}); "
        "expected the folder of images first and then that of labels"
    )


def _no_labels(path: Path, strange: Sequence[int]) -> str:
    return (
        f"{path}: {len(strange)} values without a meaning ({_some(strange)}), expected one a class; is it an image, or "
        "a label that was saved as JPEG or resized with smoothing on the way, which blurs values? "
        "(Classes as many as that are named by --classes)"
    )


def _some(values: Sequence[int]) -> str:
    shown = ", ".join(str(value) for value in values[:5])
    return f"{shown}, ... {values[-1]}" if len(values) > 6 else ", ".join(str(value) for value in values)
