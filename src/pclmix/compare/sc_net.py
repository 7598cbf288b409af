"""SC-Net: superpixel-guided scribble walking and class-wise contrast (Zhou et al., MICCAI 2023)."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.compare.class_memory import class_contrast, remember
from pclmix.compare.contrasted_twin import LATTICE, ContrastedTwinNet, lattice
from pclmix.compare.dmpls import dice_loss, mixed_label
from pclmix.compare.superpixel import walked_slices
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_labels, crop_maps
from pclmix.distributed import gathered
from pclmix.labels import IGNORE
from pclmix.method.schedule import ramp
from pclmix.method.supervision import partial_cross_entropy
from pclmix.network.cnn_decoder import CNNDecoder
from pclmix.network.dual import pretrained_segmentation_net


class SCNetSettings(Tree):
    """Published setting, except `decay`."""

    pseudo: float = Field(0.5, ge=0)
    """Weight of the mixed pseudo labels' loss [λ_MLS]."""
    walked: float = Field(0.005, ge=0)
    """Weight of the walked scribbles' loss [λ_sNR]."""
    contrastive: float = Field(0.01, ge=0)
    """Weight of the contrast at r = ½ and after [λ_CR]; ramp(2 r) before."""
    power: float = Field(1.5, ge=1, le=2)
    """Of the noise-robust Dice loss [γ]: 1 forgives wrong labels most."""
    superpixels: int = Field(200, ge=1)
    """A slice."""
    compactness: float = Field(0.15, gt=0)
    """Of a superpixel, for images of 0..1; published 15 for a lightness of 0..100."""
    decay: float = Field(10.0, ge=0)
    """mm from the stroke within which the confidence of a walked label falls by e; 0: it does not fall."""
    memory: int = Field(32, ge=1)
    """Features a class that the contrast remembers."""


class SCNet(Method):
    """½ Σ pCE(z_i, s) + .5 · ½ Σ Dice(p_i, ŷ) + .005 · ½ Σ sNR(p_i, w) + .01 ramp(2 r) Σ CR_i over the two decoders i.

    ŷ = argmax(α p_1 + (1 - α) p_2) as in DMPLS; w: scribbles walked over superpixels; sNR: noise-robust Dice loss on
    the walked pixels; CR: features of a foreground class attracted by those remembered of it, each weighed by a trained
    selector. Remembered are the features that their decoder predicts as ŷ does, those of highest score, newest first.
    Features are the decoders' last ones through a projection and a prediction head. Inference keeps the first decoder.

    Ours: walked labels lose confidence with the distance from the stroke (in the published code they do not, see
    `decay`), and the sNR loss is weighed by it; the published code has the sNR loss but trains with a plain Dice loss
    in its place; the contrast looks at a lattice of one pixel in 4 x 4, its corner drawn every step, instead of all
    pixels; heads are as wide as the plan's embedding; what is remembered is projected in training mode and joins
    after the loss; selectors have no batch norm, as the features of a class may be few.
    """

    name = "sc_net"
    summary = "scribbles walk over superpixels, two decoders, class-wise contrast with a memory"
    citation = "Zhou et al., Superpixel-guided Scribble Walking and Class-wise Contrastive Regularization, MICCAI 2023"
    OwnSettings = SCNetSettings
    settings: SCNetSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: SCNetSettings) -> None:
        super().__init__(net, plan, settings)
        foreground = len(plan.classes) - 1
        self.memory = torch.zeros(foreground, settings.memory, plan.network.embedding)
        """Unit vectors, newest first; zeros where there is none yet."""
        self.labels: list[NDArray[np.uint8]] = []
        self.confidences: list[NDArray[np.float16]] = []

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """The encoder with two decoders and the contrast's heads."""
        segmenter = pretrained_segmentation_net(plan)
        second = CNNDecoder(segmenter.encoder, len(plan.classes), plan.network.norm)
        return ContrastedTwinNet(segmenter, second, len(plan.classes) - 1, plan.network.embedding)

    def prepare(self, source: BatchSource) -> None:
        """Let the scribbles of every training slice walk, or read where an earlier run let them."""
        settings = self.settings
        walked = walked_slices(source, settings.superpixels, settings.compactness, settings.decay)
        self.labels = [label for label, _ in walked]
        self.confidences = [confidence[None] for _, confidence in walked]

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """The four terms, each a sum or mean over the decoders as published; then the features are remembered."""
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))  # of the dropout
        row, column = torch.randint(0, LATTICE, (2,), generator=generator).tolist()
        self.memory = self.memory.to(batch.image.device)
        first, second, seen = self.net(batch.image, (row, column), self.memory)
        p = (first.softmax(dim=1), second.softmax(dim=1))
        label = mixed_label(p[0], p[1], float(torch.rand(1, generator=generator)))
        walked, confidence = crop_labels(self.labels, batch), crop_maps(self.confidences, batch)[:, 0]
        walked = torch.where(batch.valid, walked, IGNORE)

        supervised = (
            sum_of(partial_cross_entropy(logits, batch.scribble, batch.valid) for logits in (first, second)) / 2
        )
        pseudo = sum_of(dice_loss(q, label, batch.valid) for q in p) / 2
        robust = sum_of(noise_robust_dice(q, walked, confidence, self.settings.power) for q in p) / 2
        aims = lattice(torch.where(batch.valid, label, IGNORE), (row, column)).flatten()
        contrast = sum_of(
            class_contrast(features, scores, aims, self.memory, seen.memory_scores)
            for features, scores in zip(seen.predicted, seen.predicted_scores, strict=True)
        )
        for q, features, scores in zip(p, seen.projected, seen.projected_scores, strict=True):
            right = lattice(q.argmax(dim=1), (row, column)).flatten() == aims
            remembered = torch.where(right, aims, IGNORE).float()  # of all ranks, so that the memory is one
            seen_by_all = gathered(features), gathered(scores), gathered(remembered).long()
            self.memory = remember(self.memory, *seen_by_all)
        weight = self.settings
        total = supervised + weight.pseudo * pseudo + weight.walked * robust
        total = total + weight.contrastive * ramp(2 * progress) * contrast
        terms = {"supervised": supervised, "pseudo": pseudo, "walked": robust, "contrast": contrast}
        return Losses(total, {name: term.detach() for name, term in terms.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """The features that are remembered."""
        return {"memory": self.memory}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Remember them again."""
        self.memory = state["memory"].clone()

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Walked labels, their confidence, a mixed pseudo label, and both predictions."""
        first, second, _ = self.net(batch.image)
        alpha = float(torch.rand(1, generator=generator))
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "walked label": torch.where(batch.valid, crop_labels(self.labels, batch), IGNORE),
            "confidence": crop_maps(self.confidences, batch)[:, 0],
            "pseudo label": mixed_label(first.softmax(dim=1), second.softmax(dim=1), alpha),
            "second decoder": second.argmax(dim=1),
            "prediction": first.argmax(dim=1),
        }


def noise_robust_dice(probability: Tensor, label: Tensor, weight: Tensor, power: float) -> Tensor:
    """Mean over classes of Σ w |p - y|^γ / (Σ w (p + y) + ε), sums over the batch's labelled pixels (Wang et al., TMI
    2020; denominator and ε = 1e-5 as in SC-Net's code). 0 without any.

    `probability`: (B, K, H, W); `label`: (B, H, W), 0..K-1 or IGNORE; `weight` w: (B, H, W).
    """
    known = label != IGNORE
    aim = torch.zeros_like(probability).scatter_(1, torch.where(known, label, 0)[:, None], 1.0)
    weight = (weight * known)[:, None]
    wrong = (weight * (probability - aim).abs().pow(power)).sum(dim=(0, 2, 3))
    return (wrong / ((weight * (probability + aim)).sum(dim=(0, 2, 3)) + 1e-5)).mean()


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms)).sum()
