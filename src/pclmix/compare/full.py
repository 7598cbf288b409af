"""Cross entropy and Dice on the dense labels: the upper bound."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.compare.soft_dice import cross_entropy_and_dice
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_labels


class FullSupervision(Method):
    """CE + soft Dice loss on the dense labels of the training slices, over the valid pixels, weights 1.

    Scribbles are not read. The slices are those that carry a scribble, as for every other method.
    """

    name = "full"
    summary = "cross entropy and Dice on dense labels, the upper bound"
    citation = "Isensee et al., nnU-Net, Nature Methods 2021, for the loss"
    needs_dense = True

    def __init__(self, net: nn.Module, plan: Plan, settings: Tree) -> None:
        super().__init__(net, plan, settings)
        self.dense: list[NDArray[np.uint8]] = []

    def prepare(self, source: BatchSource) -> None:
        """Keep the dense labels at hand; they stay on disk."""
        self.dense = [source.dense(place) for place in range(len(source.slices))]

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """Both losses on the dense labels."""
        return cross_entropy_and_dice(self.net(batch.image), crop_labels(self.dense, batch), batch.valid)

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble (not learnt from), dense label and prediction."""
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "dense label": torch.where(batch.valid, crop_labels(self.dense, batch), 0),
            "prediction": self.net(batch.image).argmax(dim=1),
        }
