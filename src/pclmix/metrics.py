"""Dice and HD95 of binary 3-D masks, as the published tables compute them (data.md, "Metrics")."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def dice(prediction: Mask, truth: Mask) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
    total = int(prediction.sum()) + int(truth.sum())
    return 2 * int((prediction & truth).sum()) / total if total else 1.0


def hd95(prediction: Mask, truth: Mask, spacing: tuple[float, ...]) -> float:
    """95th percentile of the surface distances of both directions pooled, mm (MedPy's definition).

    0 where both masks are empty, infinite where one of them is. `spacing` is in mm along each axis. Other libraries
    take the larger of the two directed percentiles, which is a larger number.
    """
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else float("inf")
    # Only the box that holds both masks matters; one voxel of margin keeps the surfaces what they are.
    box = tuple(
        slice(max(int(places.min()) - 1, 0), int(places.max()) + 2) for places in np.nonzero(prediction | truth)
    )
    a, b = _surface(prediction[box]), _surface(truth[box])
    to_a = ndimage.distance_transform_edt(~a, sampling=spacing)
    to_b = ndimage.distance_transform_edt(~b, sampling=spacing)
    return float(np.percentile(np.concatenate([to_b[a], to_a[b]]), 95))


def _surface(mask: Mask) -> Mask:
    """Voxels of the mask with a face neighbour outside it; the outside of the array counts as outside."""
    inner: Mask = ndimage.binary_erosion(mask, structure=ndimage.generate_binary_structure(mask.ndim, 1))
    return mask & ~inner
