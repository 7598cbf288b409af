"""Tables of scores: the comparison and its tests, the ablation, and what was varied."""

import math
from collections.abc import Sequence

from pclmix.report.document import Cell, Table
from pclmix.report.results import DEFAULT, Results, Row
from pclmix.report.scores import (
    RowScores,
    Versus,
    dice_columns,
    dice_difference,
    hd95_columns,
    row_scores,
    seed_deviation,
)

NONE = "–"


def label(results: Results, row: Row) -> str:
    """Name of a row, with what sets it apart: the upper bound, another tool, runs that are missing."""
    name = row.name
    if results.is_upper(row):
        name += " (upper bound)"
    if row.part == "external":
        name += " (external)"
    finished = len(results.finished(row))
    return name if finished == len(row.jobs) else f"{name} ({finished} of {len(row.jobs)} runs)"


def score_table(results: Results, rows: Sequence[Row], view: str, name: str, caption: str) -> Table:
    """Dice and HD95 a class and mean, mean (standard deviation) over volumes; the best complete row in bold.

    Rows without the scores of `view` (external ones have no plain ones) are left out, unless nothing of them finished.
    """
    found = [(row, row_scores(results, row, view)) for row in rows]
    shown = [(row, scores) for row, scores in found if scores is not None or not results.finished(row)]
    classes = list(results.classes.values())
    seeds = any(scores is not None and len(scores.seeds) > 1 for _, scores in shown)
    header = ("method", *(f"Dice {c}" for c in [*classes, "mean"]), *(["SD over seeds"] if seeds else []))
    header += (*(f"HD95 {c}" for c in [*classes, "mean"]), "infinite")
    best = _best(results, [scores for _, scores in shown if scores is not None])
    lines = []
    for row, scores in shown:
        cells = [Cell(label(results, row))]
        if scores is None:
            lines.append((*cells, *(Cell(NONE) for _ in header[1:])))
            continue
        eligible = _eligible(results, scores)
        for index, column in enumerate(dice_columns(scores)):
            bold = eligible and best.get(("dice", index)) == round(column.mean, 3)
            cells.append(Cell(f"{number(column.mean, 3)} ({number(column.sd, 3)})", bold))
        if seeds:
            cells.append(Cell(number(seed_deviation(scores), 4)))
        distances = hd95_columns(scores)
        for index, column in enumerate(distances):
            bold = eligible and best.get(("hd95", index)) == (column.infinite, round(column.mean, 1))
            more = f" +{column.infinite} inf" if column.infinite and index < len(classes) else ""
            cells.append(Cell(f"{number(column.mean, 1)} ({number(column.sd, 1)}){more}", bold))
        cells.append(Cell(str(distances[-1].infinite)))
        lines.append(tuple(cells))
    apart = frozenset(index for index, (row, _) in enumerate(shown) if results.is_upper(row))
    return Table(name, caption, header, tuple(lines), apart)


def versus_table(results: Results, rows: Sequence[Row], tests: dict[str, Versus]) -> Table:
    """Every row of the comparison against the reference."""
    header = (
        "method", "volumes", "Dice difference", "95 % interval", "p", "p, Holm",
        "HD95 difference, mm (median)", "p", "p, Holm",
    )  # fmt: skip
    lines = []
    for row in rows:
        if row.name == results.reference:
            continue
        versus = tests.get(row.name)
        cells = [NONE] * (len(header) - 1)
        if versus is not None:
            cells = [
                str(versus.volumes), number(versus.difference, 3, sign=True), interval(versus.low, versus.high),
                p_value(versus.p_dice), p_value(versus.holm_dice),
                number(versus.hd95, 1, sign=True), p_value(versus.p_hd95), p_value(versus.holm_hd95),
            ]  # fmt: skip
        lines.append((Cell(label(results, row)), *map(Cell, cells)))
    caption = (
        f"Each method minus {results.reference}: difference of the mean Dice with its bootstrap interval, "
        "and Wilcoxon's signed-rank test"
    )
    return Table("comparison_tests", caption, header, tuple(lines))


def varied_table(results: Results, rows: Sequence[Row], name: str, caption: str) -> Table:
    """Rows in which something is removed or varied: mean Dice, its difference from the reference's own runs, HD95."""
    base = baseline(results, rows)
    varied = any(row.parameter for row in rows)
    header = ("row", *(["parameter", "value"] if varied else []))
    header += ("mean Dice", "difference", "95 % interval", "mean HD95", "infinite", "annotated", "training slices")
    lines = []
    for row in rows:
        scores = row_scores(results, row, DEFAULT)
        cells = [label(results, row), *([row.parameter or NONE, value(row)] if varied else [])]
        if scores is None:
            lines.append(tuple(map(Cell, [*cells, *[NONE] * (len(header) - len(cells))])))
            continue
        dice, distance = dice_columns(scores)[-1], hd95_columns(scores)[-1]
        difference = ["", ""]
        if base is not None and scores.complete and row.jobs != base.row.jobs:
            middle, low, high = dice_difference(scores, base)
            difference = [number(middle, 3, sign=True), interval(low, high)]
        cells += [f"{number(dice.mean, 3)} ({number(dice.sd, 3)})", *difference]
        cells += [f"{number(distance.mean, 1)} ({number(distance.sd, 1)})", str(distance.infinite)]
        cells += list(effort(results, row))
        lines.append(tuple(map(Cell, cells)))
    return Table(name, caption, header, tuple(lines))


def baseline(results: Results, rows: Sequence[Row]) -> RowScores | None:
    """What differences are measured from: the row among `rows` that is runs of the reference, else the reference."""
    row = next((row for row in rows if results.is_default(row)), results.reference_row())
    scores = row_scores(results, row, DEFAULT) if row is not None else None
    return scores if scores is not None and scores.complete else None


def effort(results: Results, row: Row) -> tuple[str, str]:
    """Annotated share of the pixels of the training slices, and number of those slices, means over the runs."""
    jobs = results.finished(row)
    shares = [job.annotated for job in jobs if job.annotated is not None]
    slices = [job.train_slices for job in jobs if job.train_slices is not None]
    share = f"{100 * sum(shares) / len(shares):.2f} %" if shares else NONE
    return share, f"{sum(slices) / len(slices):.0f}" if slices else NONE


def value(row: Row) -> str:
    """The value of what is varied, as it is set."""
    return NONE if row.value is None else f"{row.value:g}" if isinstance(row.value, float) else str(row.value)


def number(x: float, decimals: int, sign: bool = False) -> str:
    """A number, a dash where it is not one."""
    return NONE if math.isnan(x) else f"{x:{'+' if sign else ''}.{decimals}f}"


def interval(low: float, high: float) -> str:
    """An interval of differences of Dice."""
    return NONE if math.isnan(low) else f"[{low:.3f}, {high:.3f}]"


def p_value(p: float) -> str:
    """p with three decimals, or that it is less."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _eligible(results: Results, scores: RowScores) -> bool:
    """Whether a row may be the best: complete, not the upper bound, and on the volumes of the reference."""
    reference = results.reference_row()
    theirs = row_scores(results, reference, DEFAULT) if reference is not None else None
    same = theirs is None or not theirs.complete or theirs.cases == scores.cases
    return scores.complete and not results.is_upper(scores.row) and same


def _best(results: Results, rows: Sequence[RowScores]) -> dict[tuple[str, int], object]:
    """Best value of each column as shown: highest Dice; fewest infinite HD95, then the lowest mean."""
    eligible = [scores for scores in rows if _eligible(results, scores)]
    best: dict[tuple[str, int], object] = {}
    if not eligible:
        return best
    for index, columns in enumerate(zip(*map(dice_columns, eligible), strict=True)):
        best["dice", index] = max(round(column.mean, 3) for column in columns)
    for index, columns in enumerate(zip(*map(hd95_columns, eligible), strict=True)):
        known = [(c.infinite, round(c.mean, 1)) for c in columns if math.isfinite(c.mean)]
        if known:
            best["hd95", index] = min(known)
    return best
