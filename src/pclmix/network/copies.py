"""The mean over mirrored and rotated copies of an image. Exported bundles get a copy of this file, so it knows PyTorch
alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def over_copies(probabilities: Callable[[Tensor], Tensor], images: Tensor, mirror: bool, turn: float) -> Tensor:
    """Mean of the `probabilities` (B, K, H, W) of `images` (B, C, H, W), float32, over copies, each brought back.

    The copies are the images; with `mirror` their three mirror images; with a `turn` two that are rotated by so many
    degrees either way. What a rotated copy does not show counts in the others alone.
    """
    total = probabilities(images)
    for axes in ((2,), (3,), (2, 3)) if mirror else ():
        total = total + probabilities(images.flip(axes)).flip(axes)
    for degrees in (-turn, turn) if turn else ():
        total = total + rotated(probabilities(rotated(images, degrees)), -degrees)
    return total / total.sum(dim=1, keepdim=True) if passes(mirror, turn) > 1 else total


def passes(mirror: bool, turn: float) -> int:
    """How many copies those are."""
    return (4 if mirror else 1) + (2 if turn else 0)


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Images (B, C, H, W) about their middle, bilinear, of the same size; 0 where they show nothing."""
    height, width = images.shape[2:]
    rows, columns = (torch.arange(side, device=images.device) - (side - 1) / 2 for side in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    grid = torch.stack([(cosine * x - sine * y) * 2 / width, (sine * x + cosine * y) * 2 / height], dim=-1)
    return functional.grid_sample(images, grid.expand(images.shape[0], -1, -1, -1), align_corners=False)
