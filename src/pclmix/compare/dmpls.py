"""Dual branch with dynamically mixed pseudo labels (Luo et al., MICCAI 2022)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch
from pclmix.method.supervision import partial_cross_entropy
from pclmix.network.blocks import pad_to_multiple
from pclmix.network.cnn_decoder import CNNDecoder
from pclmix.network.dual import SegmentationNet, pretrained_segmentation_net

DROPPED = 0.5
"""Share of the second decoder's features that is dropped, as published; a part of the network, so no setting."""


class DMPLSSettings(Tree):
    """Published setting."""

    weight: float = Field(0.5, ge=0)
    """Of the pseudo label loss [λ]."""


class TwinDecoderNet(nn.Module):
    """One encoder and two alike CNN decoders, the second behind dropout on each of the encoder's features."""

    def __init__(self, segmenter: SegmentationNet, second: CNNDecoder) -> None:
        super().__init__()
        self.segmenter, self.second, self.dropout = segmenter, second, nn.Dropout(DROPPED)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) -> both decoders' logits (B, K, H, W); the features are computed once."""
        height, width = x.shape[-2:]
        encoder = self.segmenter.encoder
        features = encoder(pad_to_multiple(x, encoder.strides[-1]))
        main = self.segmenter.decoder(features)
        second = self.second([self.dropout(feature) for feature in features])
        return main[..., :height, :width], second[..., :height, :width]


class DMPLS(Method):
    """½ [pCE(z_1, s) + pCE(z_2, s)] + λ ½ [Dice(p_1, ŷ) + Dice(p_2, ŷ)], ŷ = argmax(α p_1 + (1 - α) p_2), α uniform a
    step. Inference keeps the first decoder.

    Dropout is of single values, as in the published code, and only in training.
    """

    name = "dmpls"
    summary = "two alike decoders taught by a random mix of their predictions"
    citation = "Luo et al., Scribble-Supervised Segmentation via Dual-Branch Network and DMPLS, MICCAI 2022"
    OwnSettings = DMPLSSettings
    settings: DMPLSSettings

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """The encoder with two decoders."""
        segmenter = pretrained_segmentation_net(plan)
        return TwinDecoderNet(segmenter, CNNDecoder(segmenter.encoder, len(plan.classes), plan.network.norm))

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """Halved sums of M5 and of the Dice losses against the mixed pseudo label."""
        # Dropout draws from the device's global generator: let ours decide what that one gives.
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        first, second = self.net(batch.image)
        supervised = partial_cross_entropy(first, batch.scribble, batch.valid)
        supervised = (supervised + partial_cross_entropy(second, batch.scribble, batch.valid)) / 2
        p_1, p_2 = first.softmax(dim=1), second.softmax(dim=1)
        label = mixed_label(p_1, p_2, float(torch.rand(1, generator=generator)))
        pseudo = (dice_loss(p_1, label, batch.valid) + dice_loss(p_2, label, batch.valid)) / 2
        total = supervised + self.settings.weight * pseudo
        return Losses(total, {"supervised": supervised.detach(), "pseudo": pseudo.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Both predictions and a mix of them."""
        first, second = self.net(batch.image)
        alpha = float(torch.rand(1, generator=generator))
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "pseudo label": mixed_label(first.softmax(dim=1), second.softmax(dim=1), alpha),
            "second decoder": second.argmax(dim=1),
            "prediction": first.argmax(dim=1),
        }


def mixed_label(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    """argmax(α p_1 + (1 - α) p_2) of probabilities: 2 x (B, K, H, W) -> (B, H, W), without gradient."""
    return (alpha * first.detach() + (1 - alpha) * second.detach()).argmax(dim=1)


def dice_loss(probability: Tensor, label: Tensor, valid: Tensor, smooth: float = 1e-5) -> Tensor:
    """1 - mean over classes of (2 Σ p y + ε) / (Σ p² + Σ y + ε), sums over the batch's valid pixels.

    `probability`: (B, K, H, W); `label`: (B, H, W), 0..K-1; `valid`: (B, H, W) bool. 0 where nothing is valid. Squares
    below and ε as in the published code.
    """
    one_hot = torch.zeros_like(probability).scatter_(1, label[:, None], 1.0) * valid[:, None]
    probability = probability * valid[:, None]
    both = (probability * one_hot).sum(dim=(0, 2, 3))
    each = probability.square().sum(dim=(0, 2, 3)) + one_hot.sum(dim=(0, 2, 3))
    return 1 - ((2 * both + smooth) / (each + smooth)).mean()
