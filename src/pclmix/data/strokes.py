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
    """Convex hull of a slice's background strokes: `edges` (E, 3), outward unit normal (row, column) and offset of each
    edge in mm; `margin` in mm."""

    edges: NDArray[np.float32]
    margin: float


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
    return Ring(hull.equations.astype(np.float32), MARGIN * math.sqrt(hull.volume))  # in 2-D, volume is the area


def beyond(ring: Ring, rows: slice, columns: slice, spacing: tuple[float, float]) -> NDArray[np.bool_]:
    """Mask of a part of the slice, true where a pixel lies farther outside the ring than its margin."""
    y = np.arange(rows.start, rows.stop, dtype=np.float32) * spacing[0]
    x = np.arange(columns.start, columns.stop, dtype=np.float32) * spacing[1]
    farthest = np.full((len(y), len(x)), -np.inf, np.float32)
    for normal_y, normal_x, offset in ring.edges:
        np.maximum(farthest, np.add.outer(normal_y * y + offset, normal_x * x), out=farthest)
    return farthest > ring.margin
