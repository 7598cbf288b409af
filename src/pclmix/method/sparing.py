"""PCLMix without the published parts: one decoder, the strokes, what they rule out, then labels of its own."""

import torch
from torch import Tensor

from pclmix.compare.base import Losses
from pclmix.config import PCLMixSettings
from pclmix.data.batches import Batch
from pclmix.method.self_labelling import SelfLabelling
from pclmix.method.supervision import absence_loss, partial_cross_entropy, rule_out
from pclmix.method.uncertainty import most_likely


class SparingPCLMix(SelfLabelling):
    """M5 and our absence loss, which is 0 where strokes rule nothing out, on the encoder and its CNN decoder; then own
    labels.

    Ours: in the same time it is the more accurate (docs/experiments.md)."""

    name = "pclmix"
    summary = "strokes, what they rule out, and own labels drawn to the images' edges, without the published parts"
    citation = "M5 of Lei et al., PCLMix, arXiv 2405.06288, ICIC 2024"
    heeds_absence = True
    OwnSettings = PCLMixSettings

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 + weight times the absence loss; once there are own labels, cross entropy + Dice on those."""
        logits = self.net(batch.image)
        # The log's rows may lie on both sides of the change, so all of them have the same terms.
        terms = {name: torch.zeros(()) for name in ("supervised", "absent", "dice")}
        if self.labels:
            losses = self.learnt_from_labels(logits, batch)
            return losses._replace(terms=terms | losses.terms)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        absent = absence_loss(logits, batch.possible, batch.valid)
        seen = {"supervised": supervised.detach(), "absent": absent.detach()}
        return Losses(supervised + self.settings.absence * absent, terms | seen)

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and the prediction among what the strokes leave possible, or the own label."""
        logits = self.net(batch.image)
        panels = {"image": batch.image, "scribble": batch.scribble, "prediction": most_likely(logits)}
        if self.labels:
            return panels | {"own label": self.label_panel(batch)}
        return panels | {"possible prediction": most_likely(rule_out(logits, batch.possible))}
