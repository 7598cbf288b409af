"""`pclmix check`: what a dataset folder holds, what is odd in it, and what would break training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Group
from rich.table import Table

from pclmix.data.fingerprint import CaseFacts, Fingerprint, case_facts, slice_count
from pclmix.data.folder import Case, Dataset, read_dense, unlabelled_cases
from pclmix.data.kinds import KINDS
from pclmix.data.orientation import STORED, by_header, common, letters
from pclmix.data.volume import difference, read_geometry, read_image, require_same_grid
from pclmix.errors import InputError, some


@dataclass
class CheckReport:
    """`problems` would break training; `warnings` would not. `facts` covers the annotated cases that can be read,
    `unlabelled` holds the slices of each case without any label."""

    dataset: Dataset
    facts: list[CaseFacts] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_dataset(dataset: Dataset) -> CheckReport:
    """Read every file of a data set once and report."""
    report = CheckReport(dataset, warnings=list(dataset.warnings))
    scribbled = [case for case in dataset.cases if case.label is not None]
    for case in dataset.cases:
        try:
            _check_case(dataset, case, report)
        except InputError as error:
            report.problems.append(str(error))
    without = [case.id for case in unlabelled_cases(dataset, set())]
    if without:
        report.warnings.append(
            f"{len(without)} cases without any label, trained on only by methods that use unlabelled slices, "
            f"as pclmix does: {some(without)}"
        )
    if not scribbled:
        report.problems.append(f"{dataset.root / 'labelsTr'}: no case with a scribble, expected at least one")
    elif report.facts:
        report.warnings += fact_warnings(dataset, report.facts)
        if not any(sum(facts.pixels) for facts in report.facts):
            report.problems.append(f"{dataset.root / 'labelsTr'}: no annotated pixel in any case, expected strokes")
    return report


def require_trainable(dataset: Dataset) -> list[str]:
    """Cheap checks before training: the headers of every case and the strokes' classes. Returns warnings.

    Raises `InputError` for what would break training; files are read in full, and checked, when they are cached.
    """
    if not any(case.label is not None for case in dataset.cases):
        raise InputError(f"{dataset.root / 'labelsTr'}: no case with a scribble, expected at least one")
    for case in dataset.cases:
        shape, geometry = read_geometry(case.images[0])
        for path in (*case.images[1:], *(p for p in (case.label, case.dense) if p is not None)):
            other_shape, other = read_geometry(path)
            if other_shape != shape:
                raise InputError(f"{path}: shape {other_shape}, expected {shape} as in {case.images[0]}")
            if found := difference(geometry, other):
                raise InputError(f"{path}: {found} as in {case.images[0]}")
    return list(dataset.warnings)


def _check_case(dataset: Dataset, case: Case, report: CheckReport) -> None:
    images = [read_image(path) for path in case.images]
    for other in images[1:]:
        require_same_grid(images[0], other)
    if all(float(np.ptp(image.array)) == 0 for image in images):
        report.warnings.append(f"{case.images[0]}: every voxel has the same value")
    if case.dense is not None:
        require_same_grid(images[0], read_dense(dataset, case))
    if case.label is None:
        if case.dense is None:
            report.unlabelled.append(slice_count(case))
        return
    shape, geometry = read_geometry(case.label)
    if shape != images[0].array.shape:
        raise InputError(f"{case.label}: shape {shape}, expected {images[0].array.shape} as in {case.images[0]}")
    if found := difference(images[0].geometry, geometry):
        raise InputError(f"{case.label}: {found} as in {case.images[0]}")
    report.facts.append(case_facts(dataset, case))


def fact_warnings(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[str]:
    """What is odd about the annotated cases, their strokes and how their images are stored."""
    return [*stroke_warnings(dataset, facts), *storage_warnings(dataset, facts)]


def stroke_warnings(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[str]:
    """What is odd about strokes: nothing is annotated, no background, every voxel, or a class that nobody drew."""
    folder = dataset.root / "labelsTr"
    drawn = [case for case in facts if sum(case.pixels)]
    suspects = {
        "nothing is annotated, so it is not trained on; without the file it would count as unlabelled": [
            case for case in facts if not sum(case.pixels)
        ],
        "no stroke on the background": [case for case in drawn if not case.pixels[0]],
        "every voxel is annotated, so its slices count as dense": [
            case for case in drawn if sum(case.pixels) == np.prod(case.shape)
        ],
    }
    lines = [f"{folder}: {what} ({some([c.id for c in cases])})" for what, cases in suspects.items() if cases]
    totals = np.sum([case.pixels for case in facts], axis=0)
    for name, value in dataset.classes.items():
        if value and totals[value] == 0:
            lines.append(f"{folder}: nobody annotated class {value} ({name})")
    return lines


def storage_warnings(dataset: Dataset, facts: Sequence[CaseFacts]) -> list[str]:
    """Whether some images are clearly stored otherwise than most: mirrored, or with rows for columns."""
    placed = [case for case in facts if case.directions]
    ways = Counter(letters(case.directions) for case in placed)
    if len(ways) < 2:
        return []
    usual = ways.most_common(1)[0][0]
    most = common([case.directions for case in placed if letters(case.directions) == usual])
    others = [case for case in placed if by_header(case.directions, most) not in (None, STORED)]
    if not others:
        return []
    return [
        f"{dataset.root / 'imagesTr'}: rows and columns run to {usual} in most images, but to "
        f"{letters(others[0].directions)} in {some([case.id for case in others])}; the network sees them as stored, "
        "so better store all alike"
    ]


def render(report: CheckReport) -> Group:
    """The report as tables for a terminal."""
    dataset = report.dataset
    patients = {case.patient for case in dataset.cases}
    summary = Table(title=str(dataset.root), show_header=False)
    summary.add_row("cases / patients", f"{len(dataset.cases)} / {len(patients)}")
    summary.add_row("with scribbles", str(sum(case.label is not None for case in dataset.cases)))
    summary.add_row("with dense labels", str(sum(case.dense is not None for case in dataset.cases)))
    summary.add_row("channels", ", ".join(dataset.channels))
    parts: list[Table | str] = [summary]
    if report.facts:
        shapes = np.array([facts.shape for facts in report.facts])
        spacings = np.array([facts.spacing for facts in report.facts])
        summary.add_row("slices a case", f"{shapes[:, 0].min()}-{shapes[:, 0].max()}")
        summary.add_row("rows x columns", f"{_range(shapes[:, 1])} x {_range(shapes[:, 2])}")
        summary.add_row("pixel, mm", f"{_range(spacings[:, 1])} x {_range(spacings[:, 2])}")
        summary.add_row("slice distance, mm", _range(spacings[:, 0]))
        prints = Fingerprint(tuple(report.facts), unlabelled=tuple(report.unlabelled))
        rings, marked = (sum(counts) for counts in zip(*((f.rings, f.marked) for f in report.facts), strict=True))
        summary.add_row("a stroke on every structure of a slice", "yes" if prints.complete_strokes() else "no")
        told = "so nothing lies beyond it" if prints.ringed() else "too few to build on"
        summary.add_row("background drawn round the structures", f"{rings} of {marked} slices, {told}")
        parts.append(_kinds(prints))
        voxels = shapes.prod(axis=1).sum()
        pixels = np.array([facts.pixels for facts in report.facts])
        classes = Table("class", "label", "annotated pixels", "share of all pixels", "cases with it")
        for name, value in dataset.classes.items():
            count = int(pixels[:, value].sum())
            present = f"{int((pixels[:, value] > 0).sum())} of {len(pixels)}"
            classes.add_row(name, str(value), str(count), f"{count / voxels:.3%}", present)
        classes.add_row("all", "", str(int(pixels.sum())), f"{pixels.sum() / voxels:.3%}", "")
        parts.append(classes)
    parts += [f"warning: {line}" for line in report.warnings]
    parts += [f"problem: {line}" for line in report.problems]
    parts.append("nothing here would break training" if not report.problems else f"{len(report.problems)} problem(s)")
    return Group(*parts)


def _kinds(prints: Fingerprint) -> Table:
    """How many slices of each kind there are; whole cases without a label apart from slices that were left out."""
    table = Table("kind of slice", "slices", "cases with it")
    for kind in KINDS:
        counts = [facts.kinds[kind] for facts in prints.cases]
        name = kind if kind != "unlabelled" else "unlabelled, in annotated cases"
        table.add_row(name, str(sum(counts)), str(np.count_nonzero(counts)))
    table.add_row("unlabelled, whole cases", str(sum(prints.unlabelled)), str(len(prints.unlabelled)))
    return table


def _range(values: np.ndarray) -> str:
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    return low if low == high else f"{low}-{high}"
