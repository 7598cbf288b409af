"""nnU-Net's loss with an ignore label: partial cross entropy and partial Dice (Gotkowski et al., MICCAI 2025)."""

import torch
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.compare.soft_dice import cross_entropy_and_dice
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE


class PartialLoss(Method):
    """pCE + soft Dice loss, both over the annotated pixels alone, weights 1.

    The loss of nnU-Net on the network, the augmentation and the optimiser that all methods share; nnU-Net's own
    network, with its deep supervision, is no part of it.
    """

    name = "nnunet_pl"
    summary = "partial cross entropy and partial Dice, nnU-Net's loss with an ignore label"
    citation = "Gotkowski et al., Revisiting 3D Medical Scribble Supervision, MICCAI 2025"

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the partial Dice loss."""
        return cross_entropy_and_dice(self.net(batch.image), batch.scribble, batch.valid)

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and the part of the prediction that the loss sees."""
        prediction = self.net(batch.image).argmax(dim=1)
        seen = (batch.scribble != IGNORE) & batch.valid
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "prediction": prediction,
            "prediction seen": prediction.where(seen, IGNORE),
        }
