"""PCLMix where strokes say enough: one decoder, the strokes, and what they rule out (docs/equations.md)."""

import torch
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.config import PCLMixSettings
from pclmix.data.batches import Batch
from pclmix.method.supervision import absence_loss, partial_cross_entropy, rule_out
from pclmix.method.uncertainty import most_likely


class SparingPCLMix(Method):
    """M5 and our absence loss on the encoder and its CNN decoder. Ours, for strokes that are complete and make rings:
    there the published parts cost more than they bring (docs/experiments.md)."""

    name = "pclmix"
    summary = "strokes and what they rule out, without the published parts"
    citation = "M5 of Lei et al., PCLMix, arXiv 2405.06288, ICIC 2024"
    heeds_absence = True
    OwnSettings = PCLMixSettings
    settings: PCLMixSettings

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 + weight times the absence loss."""
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        absent = absence_loss(logits, batch.possible, batch.valid)
        total = supervised + self.settings.absence * absent
        return Losses(total, {"supervised": supervised.detach(), "absent": absent.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and the prediction among what the strokes leave possible."""
        logits = self.net(batch.image)
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "prediction": most_likely(logits),
            "possible prediction": most_likely(rule_out(logits, batch.possible)),
        }
