"""Entropy minimisation (Grandvalet & Bengio 2004), as it is used on scribbles."""

import math

import torch
from pydantic import Field
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.config import Tree
from pclmix.data.batches import Batch
from pclmix.method.supervision import partial_cross_entropy
from pclmix.method.uncertainty import entropy


class EntropySettings(Tree):
    """What entropy minimisation has to set."""

    weight: float = Field(0.1, ge=0)
    """λ of the entropy, as published with the PCLMix comparison."""


class EntropyMinimisation(Method):
    """pCE + λ · mean entropy of p over the valid pixels, as a fraction of ln K."""

    name = "em"
    summary = "partial cross entropy and low entropy of every pixel"
    citation = "Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NIPS 2004"
    OwnSettings = EntropySettings
    settings: EntropySettings

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the entropy; annotated pixels take part in both."""
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        unsure = mean_entropy(logits, batch.valid)
        total = supervised + self.settings.weight * unsure
        return Losses(total, {"supervised": supervised.detach(), "entropy": unsure.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction and its entropy in nats."""
        logits = self.net(batch.image)
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "prediction": logits.argmax(dim=1),
            "entropy": entropy(logits.softmax(dim=1)),
        }


def mean_entropy(logits: Tensor, valid: Tensor) -> Tensor:
    """Entropy of softmax(z) / ln K, 0 to 1, averaged over the valid pixels; 0 where there are none.

    `logits`: (B, K, H, W), before softmax; `valid`: (B, H, W) bool.
    """
    uncertainty = entropy(logits.softmax(dim=1)) * valid
    return uncertainty.sum() / (math.log(logits.shape[1]) * valid.sum().clamp_min(1))
