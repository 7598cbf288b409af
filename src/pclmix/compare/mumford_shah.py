"""The Mumford-Shah loss (Kim & Ye, TIP 2019): regions of even intensity with short borders."""

import torch
from pydantic import Field
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.config import Tree
from pclmix.data.batches import Batch
from pclmix.method.supervision import partial_cross_entropy

PUBLISHED_DEVIATION = 0.24
"""Standard deviation of the slices on which the published comparisons were made, scaled to 0..1 each.

Our images have a deviation of 1, so intensities times this are on the scale that the published settings were chosen
for. Measured by us: mean of 56 slices of WSL4MIS's ACDC files, .21 to .26.
"""


class MumfordShahSettings(Tree):
    """What the Mumford-Shah loss has to set."""

    weight: float = Field(0.79, ge=0)
    """λ on means over pixels. Published (WSL4MIS): 1e-6 on sums over 12 x 256 x 256 pixels, 0.79 on the means."""


class MumfordShah(Method):
    """pCE + λ · [ Σ_k Σ_px p_k (x - c_k)² + TV(p) ] / valid pixels.

    The sums are divided by the number of valid pixels, so that λ does not depend on the batch and the crop. Intensities
    are times `PUBLISHED_DEVIATION`, which is ours and keeps the published balance of the two parts.
    """

    name = "mumford_shah"
    summary = "partial cross entropy, regions of even intensity and short borders"
    citation = "Kim and Ye, Mumford-Shah Loss Functional for Image Segmentation with Deep Learning, TIP 2019"
    OwnSettings = MumfordShahSettings
    settings: MumfordShahSettings

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the two parts of the functional."""
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        probability = logits.softmax(dim=1)
        uneven = region_variance(probability, batch.image * PUBLISHED_DEVIATION, batch.valid)
        border = total_variation(probability, batch.valid)
        total = supervised + self.settings.weight * (uneven + border)
        terms = {"supervised": supervised, "region": uneven, "border": border}
        return Losses(total, {name: term.detach() for name, term in terms.items()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and the image as the functional sees it: Σ_k p_k c_k of the first channel."""
        probability = self.net(batch.image).softmax(dim=1)
        even = region_means(probability, batch.image, batch.valid)[:, :, 0, None, None]
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "prediction": probability.argmax(dim=1),
            "even regions": (probability * even).sum(dim=1),
        }


def region_means(probability: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """c: (B, K, C), mean intensity of each class in each image and channel, weighted by p, over the valid pixels.

    `probability`: (B, K, H, W); `image`: (B, C, H, W); `valid`: (B, H, W) bool.
    """
    weight = (probability * valid[:, None]).flatten(2)
    return weight @ image.flatten(2).transpose(1, 2) / weight.sum(dim=2, keepdim=True).clamp_min(1e-6)


def region_variance(probability: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Σ_k Σ_px p_k (x - c_k)², summed over channels and divided by the valid pixels. Shapes as in `region_means`."""
    # At c, the minimum, the sum does not change with c: no gradient need pass through it.
    means = region_means(probability.detach(), image, valid)
    total = probability.new_zeros(())
    for channel in range(image.shape[1]):
        distance = (image[:, None, channel] - means[:, :, channel, None, None]).square()
        total = total + (probability * distance * valid[:, None]).sum()
    return total / valid.sum().clamp_min(1)


def total_variation(probability: Tensor, valid: Tensor) -> Tensor:
    """Σ_k |p_k(i) - p_k(j)| over neighbours i, j in a row or column, both valid, divided by the valid pixels."""
    rows = valid[:, None, 1:] & valid[:, None, :-1]
    columns = valid[:, None, :, 1:] & valid[:, None, :, :-1]
    total = (probability.diff(dim=2).abs() * rows).sum() + (probability.diff(dim=3).abs() * columns).sum()
    return total / valid.sum().clamp_min(1)
