"""The median and the worst case of the upper bound by Dice, all methods side by side with the truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pclmix.data.folder import Dataset, read_dataset, read_dense
from pclmix.data.volume import (
    Volume,
    in_plane,
    nifti_files,
    read_image,
    read_label,
    require_same_grid,
    slice_axis,
    to_slices,
)
from pclmix.errors import InputError
from pclmix.evaluate import case_id
from pclmix.pictures import overlay, save_figure
from pclmix.report.results import DEFAULT, Job, Results, Row
from pclmix.report.scores import RowScores, row_scores

COLUMNS = 5
MARGIN = 0.4
"""Room left round the foreground of the truth, as a share of its size on each side."""

SHOW_AT_LEAST = 24
"""Pixels of a side of the picture at least, so that a small organ is seen where it lies."""


@dataclass(frozen=True)
class Qualitative:
    """`chooser`: name of the row whose Dice chose the cases; `captions`: a line a case, with each method's Dice."""

    chooser: str
    captions: tuple[str, ...]


def choose_cases(scores: RowScores) -> dict[str, str]:
    """Kind, median or worst -> case, by mean Dice of the classes; the lower of two middle ones, the first of equals."""
    order = sorted(range(len(scores.cases)), key=lambda index: (scores.volume_dice[index], scores.cases[index]))
    return {"median": scores.cases[order[(len(order) - 1) // 2]], "worst": scores.cases[order[0]]}


def chooser(results: Results) -> RowScores | None:
    """Scores of the upper bound, else of the reference, else of the first row that has any."""
    rows = results.comparison()
    first = sorted(rows, key=lambda row: (not results.is_upper(row), row.name != results.reference))
    return next((scores for row in first if (scores := row_scores(results, row, DEFAULT)) is not None), None)


def save_qualitative(path: Path, results: Results) -> Qualitative:
    """Write the grid. Raises `InputError` with the reason where the data set or its truth cannot be read."""
    scores = chooser(results)
    if scores is None:
        raise InputError("no finished run of the comparison")
    if not (root := str(results.experiment.get("dataset", ""))):
        raise InputError("experiment.toml names no dataset")
    dataset = read_dataset(Path(root))
    chosen = choose_cases(scores)
    rows = [row for row in results.comparison() if results.finished(row)]
    lines = math.ceil((len(rows) + 1) / COLUMNS)
    columns = math.ceil((len(rows) + 1) / lines)
    figure = Figure(figsize=(2.0 * columns, 2.4 * lines * len(chosen)), layout="constrained")
    grid = figure.subplots(lines * len(chosen), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    captions = []
    for index, (kind, case) in enumerate(chosen.items()):
        block = grid[index * lines : (index + 1) * lines].ravel().tolist()
        captions.append(_draw_case(block, results, dataset, rows, kind, case))
    save_figure(figure, path)
    return Qualitative(scores.row.name, tuple(captions))


def _draw_case(block: list[Any], results: Results, dataset: Dataset, rows: Sequence[Row], kind: str, case: str) -> str:
    known = next((known for known in dataset.cases if known.id == case), None)
    if known is None:
        raise InputError(f"{dataset.root}: no case {case}")
    image, truth = read_image(known.images[0]), read_dense(dataset, known)
    axis = slice_axis(image.array.shape, image.geometry.spacing)
    slices = to_slices(truth.array, axis)
    place = int(np.argmax((slices > 0).sum(axis=(1, 2))))
    jobs = [next((job for job in results.finished(row) if case in job.scores.get(DEFAULT, {})), None) for row in rows]
    whole = [None if job is None else _prediction(job, case, image) for job in jobs]
    drawn = [None if labels is None else to_slices(labels, axis)[place] for labels in whole]
    # Round all that anybody drew: a crop round the truth would hide what was found where nothing is.
    box = _box(np.any([slices[place] > 0, *(labels > 0 for labels in drawn if labels is not None)], axis=0))
    height, width = in_plane(image.geometry.spacing, axis)
    picture = to_slices(image.array, axis)[place][box]

    def panel(axes: Any, title: str, labels: NDArray[Any] | None) -> None:
        axes.set_title(title, fontsize=8)
        shown = np.zeros(picture.shape, np.uint8) if labels is None else labels[box]
        axes.imshow(overlay(picture, shown), aspect=height / width, interpolation="nearest")

    panel(block[0], f"{kind}: {case}\ntruth", slices[place])
    said = []
    for axes, row, job, labels in zip(block[1:], rows, jobs, drawn, strict=False):
        dice = "not predicted" if job is None else f"{_mean_dice(results, job, case):.3f}"
        missing = "\nno label file" if job is not None and labels is None else ""
        panel(axes, f"{row.name}\n{dice}{missing}", labels)
        said.append(f"{row.name} {dice}")
    return (
        f"{kind.capitalize()} case {case}, slice {place + 1} of {len(slices)}, Dice of the volume: {', '.join(said)}."
    )


def _mean_dice(results: Results, job: Job, case: str) -> float:
    scores = job.scores[DEFAULT][case]
    return float(np.mean([scores[label].dice for label in results.classes if label in scores]))


def _prediction(job: Job, case: str, image: Volume) -> NDArray[Any] | None:
    """The label map of a case, None where its file is gone (predictions are large and get deleted)."""
    try:
        path = next((path for path in nifti_files(job.predictions) if case_id(path) == case), None)
    except InputError:
        return None
    if path is None:
        return None
    volume = read_label(path)
    require_same_grid(image, volume)
    return volume.array


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a mask with room round it; all of them where the mask is empty."""
    if not mask.any():
        return slice(None), slice(None)
    sides = []
    for places in np.nonzero(mask):
        low, high = int(places.min()), int(places.max()) + 1
        room = max(round(MARGIN * (high - low)), (SHOW_AT_LEAST - (high - low) + 1) // 2)
        sides.append(slice(max(low - room, 0), high + room))
    return sides[0], sides[1]
