"""Dice and HD95 of binary masks, 3-D or 2-D, as the published tables compute them (data.md, "Metrics")."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]
Places = NDArray[np.intp]


def dice(prediction: Mask, truth: Mask) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(prediction & truth) / total if total else 1.0


def hd95(prediction: Mask, truth: Mask, spacing: tuple[float, ...]) -> float:
    """95th percentile of the surface distances of both directions pooled, mm (MedPy's definition).

    0 where both masks are empty, infinite where one of them is. `spacing` is in mm along each axis. An axis of
    length 1 counts, so all of a single slice is surface: leave that axis out, as `evaluate_case` does. Other libraries
    take the larger of the two directed percentiles, which is a larger number.
    """
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else float("inf")
    a, b = _with_margin(prediction), _with_margin(truth)
    surface_a, surface_b = _surface(a), _surface(b)
    # What both surfaces share is at distance 0; only the rest looks for its neighbour, and among points, not voxels.
    alone_a, alone_b = _without(surface_a, surface_b, a.size), _without(surface_b, surface_a, a.size)
    distances = np.zeros(len(surface_a) + len(surface_b))
    far = [
        _distances(_millimetres(start, a.shape, spacing), _millimetres(end, a.shape, spacing))
        for start, end in ((alone_a, surface_b), (alone_b, surface_a))
    ]
    distances[: len(alone_a) + len(alone_b)] = np.concatenate(far)
    return float(np.percentile(distances, 95))


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds a mask; empty where the mask is."""
    box = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
    return tuple(box)


def _with_margin(mask: Mask) -> Mask:
    """A copy with a voxel outside of the mask all round, in C order."""
    out = np.zeros([size + 2 for size in mask.shape], bool)
    out[(slice(1, -1),) * mask.ndim] = mask
    return out


def _surface(mask: Mask) -> Places:
    """Flat places of a mask's voxels with a face neighbour outside it; the mask has a margin."""
    flat = mask.ravel()
    inside = np.flatnonzero(flat)
    inner = np.ones(len(inside), bool)
    for stride in mask.strides:
        inner &= flat[inside - stride] & flat[inside + stride]
    return inside[~inner]


def _without(places: Places, others: Places, size: int) -> Places:
    """Those of `places` that are not among the `others`, all below `size`."""
    among = np.zeros(size, bool)
    among[others] = True
    return places[~among[places]]


def _millimetres(places: Places, shape: tuple[int, ...], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Flat places as points, mm."""
    return np.stack(np.unravel_index(places, shape), axis=1) * np.asarray(spacing)


def _distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to the nearest of the others."""
    if not len(points):
        return np.zeros(0)
    tree = cKDTree(others, compact_nodes=False, balanced_tree=False)
    found: NDArray[np.float64] = tree.query(points)[0]
    return found
