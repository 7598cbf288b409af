"""TriMix: three networks, each taught on a CutMix of the two others' batches (Zheng et al., ACCV 2022)."""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch
from pclmix.method.mix import draw_mix, mix_batch, mixed_pseudo_label
from pclmix.method.supervision import partial_cross_entropy
from pclmix.network.dual import SegmentationNet, pretrained_segmentation_net

TEACHERS = ((1, 2), (0, 2), (0, 1))
"""The two others, a network each."""


class TriMixSettings(Tree):
    """Published setting."""

    mixed: float = Field(1.0, ge=0)
    """Weight of the mixed scribbles' loss [λ_1]."""
    pseudo: float = Field(1.0, ge=0)
    """Weight of the mixed pseudo labels' loss [λ_2]."""
    box_area: float = Field(0.2, gt=0, lt=1)


class TripleNet(nn.Module):
    """Three networks of one architecture, initialised one after the other (where ImageNet weights are asked for, all
    three encoders start from them and only the decoders differ)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.nets = nn.ModuleList(pretrained_segmentation_net(plan) for _ in TEACHERS)

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W), a batch a network -> logits (B, K, H, W) of each."""
        return tuple(net(image) for net, image in zip(self.nets, images, strict=True))


class TriMix(Method):
    """Sum over the networks of pCE(z_i, s) + λ_1 pCE(z̃_i, s̃_i) + λ_2 CE(z̃_i, ỹ_i).

    x̃_i, s̃_i are a CutMix of the batch in two random orders, and ỹ_i of the labels that each of the two other networks
    gives its order: M4 with the others for decoders. The pseudo label counts on all valid pixels, annotated or not.
    Inference keeps the first network, at the cost of any other method's (the published code can also average all
    three). Ours: each network draws orders, box and coin of its own, where the published code shares the orders and the
    coin. The terms in the logs are means over the networks.
    """

    name = "trimix"
    summary = "three networks, each taught on a CutMix of the two others' images, scribbles and pseudo labels"
    citation = "Zheng et al., TriMix: Medical Image Segmentation from Limited Supervision, ACCV 2022"
    OwnSettings = TriMixSettings
    settings: TriMixSettings

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """All three networks."""
        return TripleNet(plan)

    @staticmethod
    def segmenter(net: nn.Module) -> SegmentationNet:
        """The first network."""
        return cast(SegmentationNet, cast(TripleNet, net).nets[0])

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """One look of all three at the batch, then one of each at its own mix."""
        looks = self.net(*[batch.image] * 3)
        supervised = partial_cross_entropies(looks, [batch] * 3, [batch.scribble] * 3)
        mixes, labels = self._mix(batch, looks, generator)
        agree = self.net(*(mix.image for mix in mixes))
        mixed = partial_cross_entropies(agree, mixes, [mix.scribble for mix in mixes])
        pseudo = partial_cross_entropies(agree, mixes, labels)
        total = supervised + self.settings.mixed * mixed + self.settings.pseudo * pseudo
        terms = {"supervised": supervised, "mixed": mixed, "pseudo": pseudo}
        return Losses(total, {name: term.detach() / len(TEACHERS) for name, term in terms.items()})

    def _mix(
        self, batch: Batch, looks: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[list[Batch], list[Tensor]]:
        """A mixed batch a network and its pseudo labels (B, H, W)."""
        size, area = batch.scribble.shape[1:], self.settings.box_area
        draws = [draw_mix(len(batch.image), size, area, generator) for _ in TEACHERS]
        labels = [mixed_pseudo_label(draw, looks[j], looks[k]) for draw, (j, k) in zip(draws, TEACHERS, strict=True)]
        return [mix_batch(draw, batch) for draw in draws], labels

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What the first network is taught and what all three predict."""
        looks = self.net(*[batch.image] * 3)
        mixes, labels = self._mix(batch, looks, generator)
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "mixed image": mixes[0].image,
            "mixed scribble": mixes[0].scribble,
            "mixed label": labels[0],
            "second network": looks[1].argmax(dim=1),
            "third network": looks[2].argmax(dim=1),
            "prediction": looks[0].argmax(dim=1),
        }


def partial_cross_entropies(logits: tuple[Tensor, ...], batches: list[Batch], targets: list[Tensor]) -> Tensor:
    """Sum over the networks of M5, each on its own batch's valid pixels."""
    return torch.stack(
        [partial_cross_entropy(z, y, b.valid) for z, b, y in zip(logits, batches, targets, strict=True)]
    ).sum()
