"""What strokes say beyond their own pixels: the ring that background strokes draw round the structures of a slice.

An annotator who marks background round the structures says where they end: nothing lies beyond the ring. This is ours,
not the published method's; the planner uses it only where nearly every slice is drawn so (`Plan.rings`).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from pclmix.labels import IGNORE

MARGIN = 0.1
"""How far beyond its ring a structure may still reach, as a fraction of the square root of the ring's area."""


class Ring(NamedTuple):
    """What the background strokes of a slice (H, W) surround, and a margin round it: the `first` and the `last` column
    of each row, (H,) whole numbers, `last` before `first` where the whole row lies beyond."""

    first: NDArray[np.int32]
    last: NDArray[np.int32]


def find_ring(strokes: NDArray[np.uint8], spacing: tuple[float, float]) -> Ring | None:
    """The ring of a slice (H, W), or None where the background strokes do not surround all foreground strokes."""
    background = np.argwhere(strokes == 0) * spacing
    foreground = np.argwhere((strokes > 0) & (strokes != IGNORE)) * spacing
    if len(background) < 3 or len(foreground) == 0:
        return None
    try:
        hull = ConvexHull(background)
    except QhullError:  # all on one line
        return None
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2]
    if (foreground @ normals.T + offsets > 1e-6).any():
        return None
    margin = MARGIN * math.sqrt(hull.volume)  # in 2-D, volume is the area
    # The hull is convex, so of each row one stretch lies within, between the columns in which the edges' lines, moved
    # out by the margin, cross the row: across * column <= room.
    across = normals[:, 1:] * spacing[1]
    room = margin - offsets[:, None] - np.outer(normals[:, 0], np.arange(strokes.shape[0]) * spacing[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = room / across
    first = np.where(across < 0, crossing, -np.inf).max(axis=0)
    last = np.where(across > 0, crossing, np.inf).min(axis=0)
    last[((across == 0) & (room < 0)).any(axis=0)] = -1
    columns = strokes.shape[1]
    return Ring(np.ceil(first.clip(0, columns)).astype(np.int32), np.floor(last.clip(-1, columns - 1)).astype(np.int32))


def beyond(ring: Ring, rows: slice, columns: slice) -> NDArray[np.bool_]:
    """Mask of a part of the slice, true where a pixel lies farther outside the ring than its margin."""
    column = np.arange(columns.start, columns.stop)
    return (column < ring.first[rows, None]) | (column > ring.last[rows, None])
