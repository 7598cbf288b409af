"""Partial cross entropy alone: the lower bound (Tang et al., CVPR 2018)."""

import torch
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.data.batches import Batch
from pclmix.method.supervision import partial_cross_entropy


class PartialCrossEntropy(Method):
    """pCE(z, s) on the encoder with its CNN decoder."""

    name = "pce"
    summary = "partial cross entropy on the annotated pixels, the lower bound"
    citation = "Tang et al., Normalized Cut Loss for Weakly-Supervised CNN Segmentation, CVPR 2018"

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 on the annotated pixels, and nothing else: what the strokes rule out is left unsaid."""
        loss = partial_cross_entropy(self.net(batch.image), batch.scribble, batch.valid)
        return Losses(loss, {"supervised": loss.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble and prediction."""
        prediction = self.net(batch.image).argmax(dim=1)
        return {"image": batch.image, "scribble": batch.scribble, "prediction": prediction}
