"""Borders drawn to the edges of an image, where strokes tell what an edge is. Ours (docs/equations.md).

Nothing is said between two strokes, so a network puts the border at a share of the way from one to the other that fits
most of what it saw: thin walls come out thick and thick ones thin. The strokes of the very volume tell its grey values:
what does not look like the most uniform structure is not of it.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pclmix.labels import IGNORE
from pclmix.metrics import bounding_box

LEAST_PIXELS = 5
"""Stroke pixels of a class in a slice from which its grey value there is taken."""

UNLIKE = 2.0
"""Deviations from the median of the most uniform structure beyond which a pixel no longer looks like it."""

CONTRAST = 3.0
"""Deviations by which two structures' medians differ at least for the border of one to be moved."""

OFFSETS = np.arange(-12, 13) / 4
"""By how much a border may move inwards (or, negative, outwards); like all lengths here in pixels of the plan."""

EXPECTED = 1.0
"""Deviation of the moves that are expected: a farther one has to gain more."""

GAIN = 5.0
"""What it is worth, on the scale of the half square of a move in `EXPECTED`, that all pixels along a border fit it."""

SMOOTHNESS = 5.0
"""Deviation of the Gaussian window along a border within which it moves as one."""


class Greys(NamedTuple):
    """Grey values of a volume's strokes: `medians` (C,) by slice and structure, `spreads` (C,) by structure, the
    deviation from the medians over all slices."""

    medians: dict[tuple[int, int], NDArray[np.float64]]
    spreads: dict[int, NDArray[np.float64]]


def grey_values(image: NDArray[np.floating], strokes: NDArray[np.uint8]) -> Greys:
    """Of a volume: `image` (S, C, H, W), `strokes` (S, H, W), 0..K-1 or IGNORE. Background is no structure."""
    medians: dict[tuple[int, int], NDArray[np.float64]] = {}
    rest: dict[int, list[NDArray[np.float64]]] = {}
    for index, drawn in enumerate(strokes):
        for label in np.unique(drawn[(drawn > 0) & (drawn != IGNORE)]).tolist():
            greys = np.asarray(image[index][:, drawn == label], np.float64)
            if greys.shape[1] >= LEAST_PIXELS:
                medians[index, label] = np.median(greys, axis=1)
                rest.setdefault(label, []).append(np.abs(greys.T - medians[index, label]))
    # 1.4826 median |x| is the deviation of a Gaussian, and hardly minds a stroke that went astray.
    spreads = {label: 1.4826 * np.median(np.concatenate(parts), axis=0) + 1e-6 for label, parts in rest.items()}
    return Greys(medians, spreads)


def most_uniform(volumes: Iterable[Greys]) -> int | None:
    """The structure of the least spread, by its median over volumes that are normalised alike; None without two."""
    spreads: dict[int, list[float]] = {}
    for volume in volumes:
        for label, spread in volume.spreads.items():
            spreads.setdefault(label, []).append(float(spread.mean()))
    return min(spreads, key=lambda label: float(np.median(spreads[label]))) if len(spreads) > 1 else None


def draw_to_edges(
    labels: NDArray[np.uint8],
    image: NDArray[np.floating],
    strokes: NDArray[np.uint8],
    uniform: int,
    pixel: tuple[float, float],
) -> NDArray[np.uint8]:
    """A copy of a volume's `labels` (S, H, W) with borders moved to where grey values change.

    `image`: (S, C, H, W); `strokes`: (S, H, W), 0..K-1 or IGNORE; `uniform`: the structure against which the others are
    told; `pixel`: its sides (row, column) in pixels of the plan. The other structures' borders with it and with the
    background move until the pixels on their side look unlike it. Where there are no strokes, or the two look alike,
    they stay.
    """
    greys, out = grey_values(image, strokes), labels.copy()
    for (index, label), median in greys.medians.items():
        if label == uniform or (index, uniform) not in greys.medians:
            continue
        middle, spread = greys.medians[index, uniform], greys.spreads[uniform]
        apart = (median - middle) / spread
        channel = int(np.argmax(np.abs(apart)))
        if abs(apart[channel]) < CONTRAST:
            continue
        around = _around(out[index] > 0, pixel)
        away = (np.asarray(image[index, channel][around], np.float64) - middle[channel]) / spread[channel]
        likeness = np.clip((np.sign(apart[channel]) * away - UNLIKE) / 2, -1, 1)
        _move(out[index][around], label, (uniform, 0), likeness, pixel)
    return out


def _move(
    labels: NDArray[np.uint8],
    label: int,
    others: tuple[int, ...],
    likeness: NDArray[np.float64],
    pixel: tuple[float, float],
) -> None:
    """Move a class's borders with `others` (H, W), piece by piece and in place, so that its pixels have a high likeness
    and those beside it a low one. A pixel that it leaves goes to the class across the border."""
    inside = labels == label
    if not inside.any() or inside.all():
        return
    within, across = ndimage.distance_transform_edt(inside, sampling=pixel, return_indices=True)
    without, back = ndimage.distance_transform_edt(~inside, sampling=pixel, return_indices=True)
    half = min(pixel) / 2  # a border runs between pixels
    depth = np.where(inside, within - half, half - without)
    facing = labels[tuple(across)]
    facing = np.where(inside, facing, facing[tuple(back)])  # the class across the border that is nearest
    # A pixel outside that lies beyond another class than its own says nothing about this border.
    near = (np.abs(depth) <= OFFSETS.max()) & np.isin(facing, others) & (inside | (labels == facing))
    offsets = OFFSETS[:, None, None]
    known = np.where(near, likeness, 0).astype(np.float32)
    fit = _smooth(np.where(depth > offsets, known, -known), SMOOTHNESS, pixel)
    mass = _smooth(near[None].astype(np.float32), SMOOTHNESS, pixel)
    worth = GAIN * fit / np.maximum(mass, 1e-6) - (offsets / EXPECTED) ** 2 / 2
    offset = _smooth(OFFSETS[worth.argmax(axis=0)][None], SMOOTHNESS / 2, pixel)[0]
    labels[near] = np.where(depth > offset, label, facing)[near]


def _smooth(maps: NDArray[np.floating], deviation: float, pixel: tuple[float, float]) -> NDArray[np.floating]:
    """Maps (N, H, W) under a Gaussian window."""
    window = (0.0, deviation / pixel[0], deviation / pixel[1])
    smooth: NDArray[np.floating] = ndimage.gaussian_filter(maps, window, mode="nearest", truncate=3)
    return smooth


def _around(mask: NDArray[np.bool_], pixel: tuple[float, float]) -> tuple[slice, ...]:
    """The box that holds a mask and all that its borders may move to."""
    rooms = [int(np.ceil(OFFSETS.max() / side)) + 1 for side in pixel]
    return tuple(
        slice(max(0, part.start - room), part.stop + room) for part, room in zip(bounding_box(mask), rooms, strict=True)
    )
