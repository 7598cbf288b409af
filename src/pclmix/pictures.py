"""Pictures: what a method sees of a batch, and predictions beside their truth."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pclmix.files import atomic_path
from pclmix.labels import BACKGROUND_STROKE, IGNORE, colour

Panel = NDArray[Any]


def save_panels(path: Path, panels: Mapping[str, Panel], classes: int) -> None:
    """Write a grid of panels, a column each and a row a sample; maps are entropies of `classes` classes, in nats.

    A panel of integers (B, H, W) is a label map and drawn over the image of its row; one of floats (B, H, W) is a map;
    one of floats (B, C, H, W) is an image, of which the first channel is shown.
    """
    rows = len(next(iter(panels.values())))
    figure = Figure(figsize=(2.1 * len(panels), 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, len(panels), squeeze=False)
    for column, (name, panel) in enumerate(panels.items()):
        axes[0][column].set_title(name, fontsize=9)
        under = panels["mixed image" if name.startswith("mixed") and "mixed image" in panels else "image"]
        for row in range(rows):
            show(axes[row][column], panel[row], under[row], highest=np.log(classes))
    save_figure(figure, path)


def save_curves(path: Path, runs: Mapping[str, Path]) -> None:
    """Write losses and validation Dice of run folders, by name, over the steps: their `log.csv` and `validation.csv`.

    Dice during a run is that of the averaged weights without averaging over copies and post-processing; a star marks
    the result with both.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, run in runs.items():
        prefix = f"{name}: " if len(runs) > 1 else ""
        for term, (steps, values) in _columns(run / "log.csv").items():
            aside = term in ("rate", "steps_per_second") or term.startswith("drawn_")
            if not aside and (len(runs) == 1 or term == "supervised"):
                left.plot(steps, values, linewidth=1, label=prefix + term)
        for term, (steps, values) in _columns(run / "validation.csv").items():
            if term.startswith("plain_dice") and (len(runs) == 1 or term == "plain_dice"):
                right.plot(steps, values, marker=".", label=prefix + term.replace("_", " "))
            elif term == "dice":
                right.plot(steps, values, marker="*", markersize=12, linestyle="", label=f"{prefix}default dice")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    right.set(xlabel="step", ylabel="mean 3-D Dice, validation", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    save_figure(figure, path)


def _columns(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of each column of a log, where it has a value."""
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    names = [name for name in (rows[0] if rows else []) if name != "step"]
    filled = {name: [row for row in rows if row[name]] for name in names}
    return {name: ([int(r["step"]) for r in some], [float(r[name]) for r in some]) for name, some in filled.items()}


def show(axes: Any, panel: Panel, image: Panel, highest: float = 1.0) -> None:
    """Draw one panel: (C, H, W) image, (H, W) float map from 0 to `highest`, or (H, W) labels over `image`."""
    axes.set_axis_off()
    if panel.ndim == 3:
        axes.imshow(panel[0], cmap="gray")
    elif panel.dtype.kind == "f":
        axes.imshow(panel, cmap="magma", vmin=0, vmax=highest)
    else:
        axes.imshow(overlay(image[0], panel))


def overlay(image: Panel, labels: Panel, strength: float = 0.55) -> NDArray[np.float64]:
    """RGB (H, W, 3) in 0-1: a grey image with its labels in colour; IGNORE and plain background stay grey.

    Where some pixels are IGNORE, annotated background is drawn in blue-grey, so that its strokes can be seen.
    """
    low, high = np.percentile(image, [1, 99])
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    out = np.repeat(grey[..., None].astype(np.float64), 3, axis=2)
    partial = bool((labels == IGNORE).any())
    for label in np.unique(labels).tolist():
        if label == IGNORE or (label == 0 and not partial):
            continue
        tint = np.array(BACKGROUND_STROKE if label == 0 else colour(label)) / 255
        place = labels == label
        share = 0.6 if label == 0 else (0.9 if partial else strength)
        out[place] = (1 - share) * out[place] + share * tint
    return out


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png(figure))


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
