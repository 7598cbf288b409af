"""Scores of predictions against dense labels: a case and class at a time in 3-D (an image of one slice in 2-D), then
their summary."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from pclmix.data.formats.listing import image_files
from pclmix.data.formats.registry import READABLE, stem
from pclmix.data.grid import onto_grid
from pclmix.data.volume import read_label
from pclmix.digits import readable
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.metrics import bounding_box, dice, hd95

SUFFIX = re.compile(r"_(0000|gt|pred|manual)$")
WORST = 3
THREADS = 8
"""Most cases scored at once, which is also what is held in memory."""


@dataclass(frozen=True)
class Score:
    """Dice and HD95 (mm, infinite where just one mask is empty) of one class of one case."""

    dice: float
    hd95: float


BOTH_EMPTY = Score(1.0, 0.0)
"""Of a class that is in neither the prediction nor the truth."""


@dataclass(frozen=True)
class Summary:
    """Over cases: mean Dice and mean of the finite HD95, how many were infinite, spread and median."""

    dice: float
    hd95: float
    infinite: int
    dice_sd: float
    dice_median: float
    hd95_sd: float
    hd95_median: float


@dataclass(frozen=True)
class Evaluation:
    """`cases`: id -> label -> score; `classes`: label -> summary; `mean`: mean of the classes; `worst`: case ids."""

    cases: dict[str, dict[int, Score]]
    classes: dict[int, Summary]
    mean: Summary
    worst: tuple[str, ...]


def evaluate_case(
    prediction: NDArray[Any], truth: NDArray[Any], spacing: tuple[float, ...], labels: Iterable[int]
) -> dict[int, Score]:
    """Scores of each label, above 0, of one volume; of an image of one slice in its plane, without the slice axis."""
    prediction, truth, spacing = _without_flat_axes(prediction, truth, spacing)
    if prediction.flags.f_contiguous:  # as files have it; distances do not depend on the order of the axes
        prediction, truth, spacing = prediction.T, truth.T, spacing[::-1]
    box = bounding_box((prediction != 0) | (truth != 0))
    prediction, truth = prediction[box], truth[box]
    scores = {}
    for label in labels:
        ours, theirs = prediction == label, truth == label
        scores[label] = Score(dice(ours, theirs), hd95(ours, theirs, spacing))
    return scores


def _without_flat_axes(
    prediction: NDArray[Any], truth: NDArray[Any], spacing: tuple[float, ...]
) -> tuple[NDArray[Any], NDArray[Any], tuple[float, ...]]:
    """Both arrays and the spacing (mm) without axes of length 1: along those every voxel has a neighbour outside, so
    that all of a structure would be its surface. A single voxel stays what it is."""
    axes = [axis for axis, size in enumerate(truth.shape) if size > 1]
    if not axes:
        return prediction, truth, spacing
    return prediction.squeeze(), truth.squeeze(), tuple(spacing[axis] for axis in axes)


def summarise(cases: dict[str, dict[int, Score]]) -> Evaluation:
    """Summarise the scores of cases that all have the same labels."""
    labels = sorted({label for scores in cases.values() for label in scores})
    classes = {label: _summary([scores[label] for scores in cases.values()]) for label in labels}
    summaries = list(classes.values())
    averages = {
        name: _mean([getattr(summary, name) for summary in summaries])
        for name in Summary.__dataclass_fields__
        if name != "infinite"
    }
    mean = Summary(infinite=sum(summary.infinite for summary in summaries), **averages)
    by_dice = sorted(cases, key=lambda case: (float(np.mean([s.dice for s in cases[case].values()])), case))
    return Evaluation(cases, classes, mean, tuple(by_dice[:WORST]))


def _mean(values: list[float]) -> float:
    """Mean of what is finite (a class of infinite distances alone has none), NaN where nothing is."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def evaluate_folders(predictions: Path, truth: Path, warn: Callable[[str], None] | None = None) -> Evaluation:
    """Score every label file of `truth` against the prediction of the same case id, in all classes of either.

    `warn` is told of each class that was predicted and is in no truth. Raises `InputError` for a truth without its
    prediction, grids that differ, or truths that hold no class.
    """
    truths, predicted = by_case(truth), by_case(predictions)
    if not truths:
        raise InputError(f"{truth}: no label file, expected one a case ({READABLE})")
    for case, path in truths.items():
        if case not in predicted:
            raise InputError(f"{path}: no prediction for it, expected {case} in {predictions}")
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        jobs = {case: pool.submit(_compare, predicted[case], path) for case, path in truths.items()}
        try:
            found = {case: job.result() for case, job in jobs.items()}
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    in_truth = {label for one in found.values() for label in one.in_truth}
    if not in_truth:
        raise InputError(f"{truth}: no label above 0 in any file, expected dense labels")
    labels = sorted({label for one in found.values() for label in one.scores})
    for label in sorted({*labels} - in_truth):
        paths = [predicted[case] for case, one in found.items() if label in one.scores]
        if label < 0:
            raise InputError(f"{paths[0]}: label {label}, expected 0 or above")
        if warn:
            share = f"{len(paths)} of {len(truths)} cases"
            warn(f"{paths[0]}: label {label}, which no truth holds; it counts as a class, with Dice 0 in {share}")
    return summarise({case: {n: one.scores.get(n, BOTH_EMPTY) for n in labels} for case, one in found.items()})


class _Compared(NamedTuple):
    """Scores of the labels, above 0, of either file of a case, and those of the truth."""

    scores: dict[int, Score]
    in_truth: set[int]


def _compare(prediction: Path, truth: Path) -> _Compared:
    reference, ours = read_label(truth), read_label(prediction)
    if reference.segments is None:
        ours = onto_grid(reference, ours)
    else:  # a segmentation may cover a part, so it is the truth that is brought onto the other's grid
        reference = onto_grid(ours, reference)
    in_truth, in_ours = _labels(reference.array), _labels(ours.array)
    spacing = reference.geometry.spacing
    return _Compared(evaluate_case(ours.array, reference.array, spacing, sorted(in_truth | in_ours)), in_truth)


def _labels(array: NDArray[Any]) -> set[int]:
    """What an array holds besides 0."""
    flat = array.ravel(order="K")
    return set(np.unique(flat[flat != 0]).tolist())


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The documented JSON: classes, mean, cases; what is not finite is null."""
    return {
        "classes": {str(label): _record(summary) for label, summary in evaluation.classes.items()},
        "mean": _record(evaluation.mean),
        "cases": {
            case: {str(label): {"dice": _finite(s.dice), "hd95": _finite(s.hd95)} for label, s in scores.items()}
            for case, scores in evaluation.cases.items()
        },
        "worst": list(evaluation.worst),
    }


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write `to_json` to a file."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(to_json(evaluation), indent=1), encoding="utf-8")


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a line a case and class; an infinite distance is written `inf`."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "label", "dice", "hd95_mm"])
        for case, scores in evaluation.cases.items():
            writer.writerows([case, label, f"{s.dice:.6f}", readable(s.hd95, 6)] for label, s in scores.items())


def render(evaluation: Evaluation, title: str = "") -> Group:
    """The summary as a table, and the worst cases by name."""
    table = Table("label", "Dice", "median", "HD95, mm", "median", "infinite", title=title or None)
    rows = [(str(label), summary) for label, summary in evaluation.classes.items()]
    for name, s in [*rows, ("mean", evaluation.mean)]:
        table.add_row(
            name,
            f"{s.dice:.4f} ({s.dice_sd:.4f})",
            f"{s.dice_median:.4f}",
            f"{readable(s.hd95, 2)} ({readable(s.hd95_sd, 2)})",
            readable(s.hd95_median, 2),
            str(s.infinite),
        )
    worst = ", ".join(
        f"{case} ({np.mean([s.dice for s in evaluation.cases[case].values()]):.3f})" for case in evaluation.worst
    )
    note = "mean (standard deviation) over cases; infinite HD95 counted apart, not in the mean"
    return Group(table, f"{len(evaluation.cases)} cases; {note}", f"worst: {worst}")


def case_id(path: Path) -> str:
    """File name without endings and without _0000, _gt, _pred or _manual."""
    return SUFFIX.sub("", stem(path) or path.name)


def by_case(folder: Path) -> dict[str, Path]:
    """Label files of a folder by case id, maps aside. Raises `InputError` for two files of one case."""
    found: dict[str, Path] = {}
    for path, name in image_files(folder).items():
        if name.endswith(("_uncertainty", "_probabilities")):
            continue
        case = case_id(path)
        if case in found:
            raise InputError(f"{path}: two files for case {case}, the other is {found[case].name}, expected one")
        found[case] = path
    return found


def _summary(scores: list[Score]) -> Summary:
    dices = np.array([score.dice for score in scores])
    distances = np.array([score.hd95 for score in scores])
    finite = distances[np.isfinite(distances)]
    nothing = finite.size == 0
    return Summary(
        dice=float(dices.mean()),
        hd95=math.nan if nothing else float(finite.mean()),
        infinite=int((~np.isfinite(distances)).sum()),
        dice_sd=float(dices.std()),
        dice_median=float(np.median(dices)),
        hd95_sd=math.nan if nothing else float(finite.std()),
        hd95_median=math.nan if nothing else float(np.median(finite)),
    )


def _record(summary: Summary) -> dict[str, Any]:
    return {name: _finite(getattr(summary, name)) for name in Summary.__dataclass_fields__}


def _finite(value: float) -> float | int | None:
    return value if math.isfinite(value) else None
