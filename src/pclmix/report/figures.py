"""Curves of Dice over what was varied: a setting, or how much was annotated."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pclmix.pictures import save_figure
from pclmix.report.results import DEFAULT, Results, Row
from pclmix.report.scores import row_scores
from pclmix.report.statistics import bootstrap_mean

WIDE = 20
"""Values that span more than this factor are drawn on a logarithmic axis."""

AXES = {"slices": "fraction of annotated slices kept", "pixels": "fraction of scribbled pixels kept"}


def by_parameter(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows with a number as value, by the parameter that is varied."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row.value, int | float):
            found.setdefault(row.parameter, []).append(row)
    return found


def sensitivity_file(parameter: str) -> str:
    """File name of the curve of a parameter."""
    return f"sensitivity_{re.sub(r'[^A-Za-z0-9.-]+', '_', parameter)}.png"


def save_curve(path: Path, results: Results, panels: dict[str, list[Row]]) -> bool:
    """Write mean Dice over the value, a panel a parameter and a line a method; False where nothing can be drawn.

    Bars are the 95 % bootstrap interval of the mean over patients; a ring marks a row with runs missing, a star one
    that is the reference's own runs.
    """
    drawn = {name: rows for name, rows in panels.items() if any(results.finished(row) for row in rows)}
    if not drawn:
        return False
    figure = Figure(figsize=(5 * len(drawn), 3.6), layout="constrained")
    for axes, (parameter, rows) in zip(
        figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0], drawn.items(), strict=True
    ):
        _draw(axes, results, rows)
        axes.set(xlabel=AXES.get(parameter, parameter), ylabel="mean 3-D Dice")
    save_figure(figure, path)
    return True


def _draw(axes: Any, results: Results, rows: Sequence[Row]) -> None:
    lines: dict[str, list[tuple[float, float, float, float, str]]] = {}
    for row in rows:
        scores = row_scores(results, row, DEFAULT)
        if scores is None:
            continue
        method = results.finished(row)[0].method
        low, high = bootstrap_mean(scores.volume_dice, scores.patients)
        kind = "o" if not scores.complete else "*" if results.is_default(row) else "."
        lines.setdefault(method, []).append((float(row.value), float(scores.volume_dice.mean()), low, high, kind))
    for index, (method, points) in enumerate(lines.items()):
        points.sort()
        color = f"C{index}"
        x, y = [point[0] for point in points], [point[1] for point in points]
        # Where all volumes are equal an end may lie on the wrong side of the mean by rounding.
        below = [max(mean - low, 0.0) for _, mean, low, _, _ in points]
        above = [max(high - mean, 0.0) for _, mean, _, high, _ in points]
        axes.errorbar(x, y, yerr=[below, above], color=color, linewidth=1.2, capsize=3, label=method)
        for place, mean, _, _, kind in points:
            axes.plot(
                place, mean, kind, color=color, markersize={"*": 14, "o": 8, ".": 10}[kind],
                markerfacecolor="white" if kind == "o" else color,
            )  # fmt: skip
    values = [point[0] for points in lines.values() for point in points]
    if min(values) > 0 and max(values) / min(values) > WIDE:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
