"""The data set's fingerprint: what the planner and `pclmix check` need to know of the files."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pclmix.config import PlannerSettings, Rule
from pclmix.data.folder import Case, Dataset, read_scribble
from pclmix.data.kinds import KINDS, SliceKind, kind_of
from pclmix.data.orientation import Directions, directions
from pclmix.data.strokes import find_ring
from pclmix.data.volume import in_plane, read_geometry, read_image, slice_axis, to_slices
from pclmix.errors import InputError
from pclmix.labels import IGNORE

FEW_GAPS = 0.02
"""Strokes count as complete if, of the slices between the first and the last with a stroke of a class, at most this
share lacks one. Whoever draws every structure in every slice leaves none; whoever draws here and there leaves many."""

EVIDENCE = 20
"""Slices without which neither is believed: a stroke between two others (a class), or a ring. Where a volume has one
annotated slice there can be no gap, so that says nothing."""

MOST_RINGS = 0.98
"""Background strokes count as rings if they surround the foreground strokes in at least this share of the slices."""

SAMPLED_CASES = 40
"""Cases whose intensities are read for the statistics of CT channels."""


@dataclass(frozen=True)
class CaseFacts:
    """One case. `shape` and `spacing` (mm) have the slice axis first; `pixels` counts annotated pixels a class;
    `extents` is (rows, columns) in mm of the foreground strokes, a slice that has any; `kinds` counts the slices of
    each kind. Of the scribbled slices, `drawn` counts those with a stroke of a class, `gaps` those without one that lie
    between two with one, `marked` those with a foreground stroke, and `rings` those whose background strokes surround
    their foreground strokes. `directions`: how the slices lie, as the image's header says."""

    id: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    pixels: tuple[int, ...]
    extents: tuple[tuple[float, float], ...]
    drawn: tuple[int, ...]
    gaps: tuple[int, ...]
    rings: int
    marked: int
    kinds: dict[SliceKind, int]
    directions: Directions = ()


@dataclass(frozen=True)
class Fingerprint:
    """All annotated cases, and a channel the 0.5 and 99.5 percentiles, mean and standard deviation of its intensities
    where foreground was annotated (empty unless a channel is CT).

    `unlabelled`: slices of each case that nobody annotated. The plan does not go by those, so that it is the same for
    every method, whether it uses them or not.
    """

    cases: tuple[CaseFacts, ...]
    intensities: tuple[tuple[float, float, float, float], ...] = ()
    unlabelled: tuple[int, ...] = ()

    def complete_strokes(self) -> bool:
        """Whether every structure seems to have a stroke in every scribbled slice that shows it."""
        gaps = np.array([case.gaps[1:] for case in self.cases])
        reach = np.array([case.drawn[1:] for case in self.cases]) + gaps  # slices from the first stroke to the last
        between = np.maximum(reach - 2, 0).sum(axis=0)
        return bool((between >= EVIDENCE).all() and (gaps.sum(axis=0) <= FEW_GAPS * reach.sum(axis=0)).all())

    def ringed(self) -> bool:
        """Whether background strokes are drawn round the structures, so that nothing lies beyond them."""
        rings, marked = sum(case.rings for case in self.cases), sum(case.marked for case in self.cases)
        return rings >= EVIDENCE and rings >= MOST_RINGS * marked

    def to_json(self) -> str:
        """Readable JSON."""
        return json.dumps(asdict(self), indent=1)


def intensity_rules(dataset: Dataset, budget: PlannerSettings) -> tuple[Rule, ...]:
    """How each channel is normalised: as the user fixed it, else "ct" where its name says CT, as nnU-Net tells it."""
    channels = dataset.channels
    if budget.intensity and len(budget.intensity) != len(channels):
        raise InputError(
            f"planner.intensity: {len(budget.intensity)} rules, expected {len(channels)}, one a channel "
            f"of {dataset.root} ({', '.join(channels)})"
        )
    return budget.intensity or tuple("ct" if name.strip().lower() == "ct" else "zscore" for name in channels)


def fingerprint(
    dataset: Dataset, cases: Sequence[Case], budget: PlannerSettings, unlabelled: Sequence[Case] = ()
) -> Fingerprint:
    """Facts of the annotated `cases`, and of those that are not. Raises `InputError` for files that cannot be read."""
    from pclmix.threads import case_threads  # imports torch, which `pclmix check` does without

    with case_threads(len(cases)) as pool:
        facts = tuple(pool.map(lambda case: case_facts(dataset, case, budget.slice_axis), cases))
    statistics: tuple[tuple[float, float, float, float], ...] = ()
    if "ct" in intensity_rules(dataset, budget):
        statistics = tuple(_statistics(dataset, cases, index) for index in range(len(dataset.channels)))
    return Fingerprint(facts, statistics, tuple(slice_count(case, budget.slice_axis) for case in unlabelled))


def slice_count(case: Case, axis_choice: str = "auto") -> int:
    """Slices of a case, from the header of its image."""
    shape, geometry = read_geometry(case.images[0])
    return shape[slice_axis(shape, geometry.spacing, axis_choice)]


def case_facts(dataset: Dataset, case: Case, axis_choice: str = "auto") -> CaseFacts:
    """Facts of one case from its image header and its scribble."""
    shape, geometry = read_geometry(case.images[0])
    axis = slice_axis(shape, geometry.spacing, axis_choice)
    row, column = in_plane(geometry.spacing, axis)
    slices = to_slices(read_scribble(dataset, case).array, axis)
    counts = np.bincount(slices.ravel(), minlength=256)[: len(dataset.classes)]
    extents = tuple(
        (_extent(part.any(axis=1)) * row, _extent(part.any(axis=0)) * column)
        for part in (slices > 0) & (slices != IGNORE)
        if part.any()
    )
    kinds = np.array([kind_of(part) for part in slices])
    scribbled = slices[kinds == "scribble"]
    drawn = [(scribbled == label).any(axis=(1, 2)) for label in range(len(dataset.classes))]
    sizes = [shape[axis], *(n for index, n in enumerate(shape) if index != axis)]
    return CaseFacts(
        id=case.id,
        shape=(sizes[0], sizes[1], sizes[2]),
        spacing=(geometry.spacing[axis], row, column),
        pixels=tuple(int(count) for count in counts),
        extents=extents,
        drawn=tuple(int(present.sum()) for present in drawn),
        gaps=tuple(_extent(present) - int(present.sum()) for present in drawn),
        rings=sum(find_ring(part, (row, column)) is not None for part in scribbled),
        marked=int(((scribbled > 0) & (scribbled != IGNORE)).any(axis=(1, 2)).sum()),
        kinds={kind: int((kinds == kind).sum()) for kind in KINDS},
        directions=directions(geometry, axis),
    )


def _extent(present: NDArray[np.bool_]) -> int:
    places = np.flatnonzero(present)
    return int(places[-1] - places[0] + 1) if len(places) else 0


def _statistics(dataset: Dataset, cases: Sequence[Case], channel: int) -> tuple[float, float, float, float]:
    step = max(1, len(cases) // SAMPLED_CASES)
    values = []
    for case in cases[::step]:
        strokes = read_scribble(dataset, case).array
        values.append(read_image(case.images[channel]).array[(strokes > 0) & (strokes != IGNORE)])
    joined = np.concatenate(values) if values else np.zeros(0)
    if joined.size == 0:
        return (0.0, 1.0, 0.0, 1.0)
    low, high = np.percentile(joined, [0.5, 99.5])
    return (float(low), float(high), float(joined.mean()), float(joined.std()))
