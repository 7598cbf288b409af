"""A contact sheet: a few slices of a few cases with the strokes in colour, to see pairing, orientation and colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from pclmix.data.grid import Volume
from pclmix.data.importers.meanings import Meanings
from pclmix.data.orientation import Orientation, laid, upright
from pclmix.data.volume import in_plane, slice_axis, to_slices
from pclmix.labels import BACKGROUND_STROKE, IGNORE, colour
from pclmix.pictures import overlay

CASES = 12
PLACES = (0.2, 0.5, 0.8)
"""Slices that are shown, as fractions of the way through those with a stroke."""

COLUMNS = 6
SIDE = 2.0
"""Inches of a picture; at the resolution of the sheet about `PIXELS` pixels."""

PIXELS = 200
"""Strokes are thickened where a picture has more pixels than that, or they would be lost when it is made smaller."""

UNCOLOURED = -1
NOT_SAID = "not said yet"


@dataclass(frozen=True)
class Shown:
    """A slice of a case: `image` (H, W), grey; `values` (H, W), those of the user's file; `aspect`: height of a pixel
    by its width."""

    title: str
    image: NDArray[np.float32]
    values: NDArray[np.int16]
    aspect: float


def chosen_cases(cases: Sequence[str]) -> list[str]:
    """At most `CASES` of them, spread evenly."""
    places = np.linspace(0, len(cases) - 1, min(CASES, len(cases)))
    return [cases[round(place)] for place in places.tolist()]


def slices_of(case: str, channels: Sequence[Volume], label: Volume) -> list[Shown]:
    """A few slices of a case among those with a stroke, the middle one of a case without; a colour image as grey.

    A stroke is what does not have the commonest value, since nothing is known of the values here.
    """
    geometry = channels[0].geometry
    axis = slice_axis(channels[0].array.shape, geometry.spacing)
    values = to_slices(label.array, axis)
    sizes = np.unique(values, return_counts=True)
    painted = np.flatnonzero((values != sizes[0][sizes[1].argmax()]).any(axis=(1, 2)))
    if not len(painted):
        painted = np.array([len(values) // 2])
    height, width = in_plane(geometry.spacing, axis)
    turned = upright(geometry, axis)
    shown = []
    for index in sorted({int(painted[round(place * (len(painted) - 1))]) for place in PLACES}):
        grey = np.mean([to_slices(channel.array, axis)[index] for channel in channels], axis=0)
        title = f"{case}\nslice {index + 1} of {len(values)}"
        aspect = width / height if turned.swapped else height / width
        shown.append(Shown(title, _laid(grey, turned), _laid(values[index], turned), aspect))
    return shown


def draw_sheet(shown: Sequence[Shown], meanings: Meanings, values: Sequence[int]) -> Figure:
    """The sheet with a legend. `values` are those that occur, the commonest first; those whose meaning nobody said have
    colours of their own, apart from the commonest where it may be what is unlabelled: it stays uncoloured."""
    table, legend = _colours(meanings, values)
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(SIDE * COLUMNS, (SIDE + 0.4) * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel().tolist()
    for axes in grid:
        axes.set_axis_off()
    for axes, one in zip(grid, shown, strict=False):
        axes.set_title(one.title, fontsize=7, parse_math=False)
        labels = np.full(one.values.shape, IGNORE)
        for value, label in table.items():
            labels[one.values == value] = label
        axes.imshow(overlay(one.image, _thickened(labels)), aspect=one.aspect, interpolation="nearest")
    handles = [Patch(facecolor=tint, edgecolor="grey", label=_plain(text)) for text, tint in legend]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), fontsize=9)
    return figure


def _colours(meanings: Meanings, values: Sequence[int]) -> tuple[dict[int, int], list[tuple[str, Any]]]:
    """Value -> label in memory, and the legend: a text and an RGB colour (0-1) or `none` each."""
    table = {value: label if label <= len(meanings.structures) else IGNORE for value, label in meanings.labels.items()}
    unknown = [value for value in values if value not in table]
    if unknown and meanings.unlabelled is None:
        table[unknown[0]] = IGNORE
    fresh = len(meanings.structures) + 1
    table |= {value: fresh + index for index, value in enumerate(value for value in unknown if value not in table)}
    legend: list[tuple[str, Any]] = []
    for value in sorted(values):
        text = f"{value}: {meanings.of(value) or NOT_SAID}"
        if table[value] == IGNORE or (table[value] == 0 and IGNORE not in [table[known] for known in values]):
            legend.append((f"{text} (uncoloured)", "none"))
        else:
            tint = BACKGROUND_STROKE if table[value] == 0 else colour(table[value])
            legend.append((text, tuple(part / 255 for part in tint)))
    return table, legend


def _laid(array: NDArray[Any], turned: Orientation) -> NDArray[Any]:
    return laid(array[None], turned)[0].copy()


def _thickened(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Labels (H, W) whose strokes are broad enough to be seen on the sheet; only IGNORE gives way to them."""
    size = -(-max(labels.shape) // PIXELS)
    if size == 1:
        return labels
    strokes = np.where(labels == IGNORE, UNCOLOURED, labels)
    broad = maximum_filter(strokes, size=size)
    return np.where((strokes == UNCOLOURED) & (broad != UNCOLOURED), broad, labels)


def _plain(text: str) -> str:
    """Text for a legend, where dollar signs would make a formula."""
    return text.replace("$", r"\$")
