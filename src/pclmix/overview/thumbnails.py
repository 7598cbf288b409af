"""A strip of slices of a case with the outlines of its structures, drawn by NumPy and Pillow: a few ms a case."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pclmix.files import atomic_path
from pclmix.labels import colour
from pclmix.metrics import bounding_box

PLACES = (0.25, 0.5, 0.75)
"""Slices that are shown, as fractions of the way from the first to the last slice with a structure; each once."""

HEIGHT = 200
"""Pixels of a thumbnail, rows and columns."""

ROOM = 0.5
"""Surroundings shown round the structures, as a fraction of their extent on each side."""

GAP = 4


def save_thumbnails(
    path: Path, image: NDArray[np.floating], labels: NDArray[np.uint8], spacing: Sequence[float]
) -> None:
    """Write a strip as PNG: `image` and `labels` (S, H, W), `spacing` in mm (row, column)."""
    found = np.flatnonzero(labels.any(axis=(1, 2)))
    first, last = (found[0], found[-1]) if len(found) else (0, len(labels) - 1)
    rows, columns = _square(labels, spacing)
    low, high = np.percentile(image[:, rows, columns], [1, 99])
    shown = sorted({round(first + place * (last - first)) for place in PLACES})
    strip = np.full((HEIGHT, len(shown) * (HEIGHT + GAP) - GAP, 3), 255, np.uint8)
    for index, chosen in enumerate(shown):
        grey = np.clip((image[chosen, rows, columns] - low) / max(float(high - low), 1e-6), 0, 1)
        picture = _outlined((grey * 255).astype(np.uint8), labels[chosen, rows, columns])
        start = index * (HEIGHT + GAP)
        strip[:, start : start + HEIGHT] = picture
    with atomic_path(path) as temporary:
        Image.fromarray(strip).save(temporary)


def outline(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W): the label of each pixel of a structure that has a neighbour, across an edge, of another label; else 0."""
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    border = np.zeros(labels.shape, bool)
    for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        border |= inner != other
    return np.where(border, labels, 0).astype(np.uint8)


def _outlined(grey: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (HEIGHT, HEIGHT)
    picture = np.repeat(np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))[..., None], 3, axis=2)
    lines = outline(np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)))
    for label in np.unique(lines[lines > 0]).tolist():
        picture[lines == label] = colour(label)
    return picture


def _square(labels: NDArray[np.uint8], spacing: Sequence[float]) -> tuple[slice, slice]:
    """The part of the slices that is shown: round all structures, else the middle; as square in mm as the slice allows,
    and the same for every slice."""
    box = bounding_box(np.asarray(labels.any(axis=0)))
    sizes = labels.shape[1:]
    empty = box[0].start == box[0].stop
    ends = [(0, size) if empty else (part.start, part.stop) for part, size in zip(box, sizes, strict=True)]
    extent = max((end - start) * step for (start, end), step in zip(ends, spacing, strict=True))
    shown = extent * (1.0 if empty else 1 + 2 * ROOM)
    # A side shorter than wanted would be stretched to the square, so both follow the one that has least room.
    shown = min(shown, *(size * step for size, step in zip(sizes, spacing, strict=True)))
    parts = []
    for (start, end), size, step in zip(ends, sizes, spacing, strict=True):
        side = max(1, min(size, round(shown / step)))
        first = min(max(0, round((start + end - side) / 2)), size - side)
        parts.append(slice(first, first + side))
    return parts[0], parts[1]
