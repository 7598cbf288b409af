"""From volumes to network slices and back: in-plane resampling and intensity normalisation.

Both directions align the outer edges of the pixel grids (pixel i covers [i, i+1) x spacing), so `restore` undoes the
geometry of `preprocess_image` exactly.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pclmix.config import Plan
from pclmix.data.grid import numbers
from pclmix.data.volume import Volume, in_plane, slice_axis, to_slices
from pclmix.errors import InputError
from pclmix.labels import IGNORE

BYTES_IN_NETWORK = 400
"""Of each pixel of a slice while the network is at it, as measured of `acdc-scribble`."""


def plan_axis(volume: Volume, plan: Plan) -> int:
    """Array axis of the slices under a plan."""
    return slice_axis(volume.array.shape, volume.geometry.spacing, plan.slice_axis)


def resampled_size(shape: tuple[int, int], spacing: tuple[float, float], plan: Plan) -> tuple[int, int]:
    """Rows and columns of a slice at the plan's spacing; 0 of a slice far smaller than a pixel of the plan."""
    rows, columns = (round(n * s / target) for n, s, target in zip(shape, spacing, plan.spacing, strict=True))
    return rows, columns


def preprocess_image(images: Sequence[Volume], plan: Plan) -> NDArray[np.float32]:
    """Channels of a case, one volume each, as normalised slices (S, C, H, W) at the plan's spacing; linear.

    Raises `InputError` where there would be no pixel along an axis, or more than memory holds.
    """
    axis = plan_axis(images[0], plan)
    spacing = in_plane(images[0].geometry.spacing, axis)
    count, *sides = to_slices(images[0].array, axis).shape
    size = resampled_size((sides[0], sides[1]), spacing, plan)
    _require_fit(images[0], spacing, (count, *size), plan)
    channels = []
    for index, volume in enumerate(images):
        slices = to_slices(_normalised(volume.array, plan, index), axis)
        channels.append(torch.from_numpy(np.ascontiguousarray(slices, dtype=np.float32)))
    stack = torch.stack(channels, dim=1)
    if size != tuple(stack.shape[2:]):
        # Antialiasing only acts where the grid gets coarser; it keeps thin structures from being skipped.
        stack = functional.interpolate(stack, size, mode="bilinear", align_corners=False, antialias=True)
    return stack.numpy()


def memory() -> float:
    """Bytes of this machine's memory; infinite where the system does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("inf")


def preprocess_label(volume: Volume, plan: Plan) -> NDArray[np.uint8]:
    """A label volume as slices (S, H, W) at the plan's spacing; nearest, so no label is invented.

    A class that nearest sampling would skip in a slice (a stroke of a few pixels on a coarser grid) keeps the cells its
    pixels lie in: without them the slice would seem to show nothing of it.
    """
    axis = plan_axis(volume, plan)
    native = np.ascontiguousarray(to_slices(volume.array, axis)).astype(np.uint8)
    size = resampled_size((native.shape[1], native.shape[2]), in_plane(volume.geometry.spacing, axis), plan)
    slices = functional.interpolate(torch.from_numpy(native)[:, None], size, mode="nearest-exact")[:, 0].numpy()
    present = np.flatnonzero(np.bincount(native.ravel(), minlength=IGNORE + 1)[:IGNORE])
    for label in present:
        drawn, kept = (native == label), (slices == label)
        skipped = np.flatnonzero(drawn.any(axis=(1, 2)) & ~kept.any(axis=(1, 2)))
        place, row, column = np.nonzero(drawn[skipped])
        slices[skipped[place], row * size[0] // native.shape[1], column * size[1] // native.shape[2]] = label
    return slices


def restore(probabilities: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Probabilities (S, K, h, w) on the native in-plane grid of `shape`, linear; the inverse of the preprocessing."""
    if tuple(probabilities.shape[2:]) == tuple(shape):
        return probabilities
    return functional.interpolate(probabilities, shape, mode="bilinear", align_corners=False)


def _require_fit(image: Volume, spacing: tuple[float, float], shape: tuple[int, int, int], plan: Plan) -> None:
    """Refuse an image whose pixels are so far from the plan's that there is nothing to see, or far too much.

    `spacing` is its own in the plane, `shape` the slices, rows and columns that it would have at the plan's.
    """
    count, rows, columns = shape
    found = (
        f"{image.path}: pixels of {numbers(spacing)} mm give slices of {rows} x {columns} pixels "
        f"at the plan's {numbers(plan.spacing)} mm"
    )
    if min(rows, columns) < 1:
        raise InputError(f"{found}, expected at least one; is the unit of its spacing right?")
    values = len(plan.channels) + len(plan.classes)
    needed = rows * columns * (count * values * np.float32().nbytes + BYTES_IN_NETWORK)
    if needed > memory():
        told = f"{needed / 2**30:.0f} GiB; expected no more than the {memory() / 2**30:.0f} GiB of this machine"
        raise InputError(f"{found}, {told}; is the unit of its spacing right?")


def _normalised(array: NDArray[Any], plan: Plan, channel: int) -> NDArray[np.float32]:
    if plan.intensity[channel] == "ct":
        low, high = plan.clip[channel]
        mean, deviation = plan.statistics[channel]
        return ((np.clip(array, low, high) - mean) / max(deviation, 1e-6)).astype(np.float32)
    mean, deviation = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
    return ((array - mean) / max(deviation, 1e-6)).astype(np.float32)
