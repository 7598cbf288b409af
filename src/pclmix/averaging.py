"""Averaged weights and honest batch-norm statistics: what turns the last steps of a run into its result."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


class AveragedWeights:
    """Exponential moving average of a network's parameters.

    `window` is the averaging length in steps; early on it is shortened to a tenth of the steps taken, so that the
    random initialisation is forgotten. A window below 1 follows the network itself.
    """

    def __init__(self, net: nn.Module, window: float) -> None:
        self.window = window
        self.net = copy.deepcopy(net).requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move the average towards `net` after step number `step` (0-based). Buffers are copied as they are."""
        length = max(1.0, min(self.window, (10 + step) / 9))
        ours: list[Tensor] = list(self.net.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(ours, theirs, 1 / length)
        for mine, other in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(other)


def with_fresh_statistics(net: nn.Module, images: Iterable[Tensor]) -> nn.Module:
    """A copy of `net` in eval mode whose batch-norm statistics are the average over `images`, (B, C, H, W) each.

    Training mixes two kinds of image into one running mean, and averaged weights never saw a batch at all; so the
    statistics are estimated again on unmixed images before a model is used (method.md, "a rough trial").
    """
    fresh = copy.deepcopy(net)
    update_bn(images, fresh)
    return fresh.eval()
