"""Maps of whole training slices (dense labels, grown labels, averages) brought to the crops of a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pclmix.data.batches import Batch
from pclmix.labels import IGNORE


def crop_labels(labels: Sequence[NDArray[np.uint8]], batch: Batch) -> Tensor:
    """(B, H, W) int64 on the batch's device, nearest: `labels` holds a map (h, w) a training slice, by its place.

    IGNORE where the crop leaves its slice. Agrees with how the batch's own scribble was made, float rounding aside.
    """
    slices, positions = _looked_at(batch)
    out = torch.full(batch.scribble.shape, IGNORE, dtype=torch.int64)
    for item, place in enumerate(slices.tolist()):
        label = torch.from_numpy(np.array(labels[place]))  # a copy: maps on disk cannot be written to
        x, y = positions[item].round().long().unbind(dim=-1)
        inside = (x >= 0) & (x < label.shape[1]) & (y >= 0) & (y < label.shape[0])
        found = label[y.clamp(0, label.shape[0] - 1), x.clamp(0, label.shape[1] - 1)].long()
        out[item] = torch.where(inside, found, IGNORE)
    return out.to(batch.image.device)


def crop_maps(maps: Sequence[NDArray[Any]], batch: Batch) -> Tensor:
    """(B, C, H, W) float32 on the batch's device, bilinear: `maps` holds (C, h, w) a training slice, by its place.

    0 where the crop leaves its slice.
    """
    slices, positions = _looked_at(batch)
    crops = []
    for item, place in enumerate(slices.tolist()):
        values = torch.from_numpy(np.array(maps[place], dtype=np.float32))[None]
        sides = torch.tensor([values.shape[3], values.shape[2]])
        grid = (2 * positions[item] + 1) / sides - 1
        crops.append(functional.grid_sample(values, grid[None], padding_mode="zeros", align_corners=False))
    return torch.cat(crops).to(batch.image.device)


def _looked_at(batch: Batch) -> tuple[Tensor, Tensor]:
    """Place of each crop's slice (B,), and the slice's pixel (x, y) that each of its pixels shows, (B, H, W, 2)."""
    if batch.origin is None:
        raise ValueError("a batch that was mixed of several slices, expected one that was cut from them")
    return batch.origin.slices, batch.origin.geometry.positions(batch.scribble.shape[1:])
