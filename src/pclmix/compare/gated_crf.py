"""The gated CRF loss (Obukhov et al. 2019): alike neighbours are to get one label."""

import math

import torch
from pydantic import Field
from torch import Tensor

from pclmix.compare.base import Losses, Method
from pclmix.compare.mumford_shah import PUBLISHED_DEVIATION
from pclmix.config import Tree
from pclmix.data.batches import Batch
from pclmix.method.supervision import partial_cross_entropy


class GatedCRFSettings(Tree):
    """What the gated CRF loss has to set; all as published, the two standard deviations for images of 0..1."""

    weight: float = Field(0.1, ge=0)
    """λ of the energy."""
    radius: int = Field(5, ge=1)
    """Of the square window, in pixels."""
    sigma_position: float = Field(6.0, gt=0)
    """Standard deviation of the kernel over distance, in pixels."""
    sigma_intensity: float = Field(0.1, gt=0)
    """Standard deviation of the kernel over intensity, of images of 0..1."""


class GatedCRF(Method):
    """pCE + λ · energy of a pairwise CRF in a local window, gated by `valid`.

    Intensities are times `PUBLISHED_DEVIATION`, which is ours: it brings images of deviation 1 to the scale of 0..1.
    The published source counts pairs that leave the image, too; here both ends are valid pixels.
    """

    name = "gated_crf"
    summary = "partial cross entropy and a pairwise Gaussian energy in a local window"
    citation = (
        "Obukhov et al., Gated CRF Loss for Weakly Supervised Semantic Image Segmentation, arXiv 1906.04651, 2019"
    )
    OwnSettings = GatedCRFSettings
    settings: GatedCRFSettings

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the energy."""
        logits, settings = self.net(batch.image), self.settings
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        energy = crf_energy(logits.softmax(dim=1), self._features(batch), batch.valid, settings)
        total = supervised + settings.weight * energy
        return Losses(total, {"supervised": supervised.detach(), "crf": energy.detach()})

    def _features(self, batch: Batch) -> Tensor:
        return batch.image * PUBLISHED_DEVIATION

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and each pixel's kernel summed over its neighbours."""
        ones = torch.ones_like(batch.image[:, :1])
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "prediction": self.net(batch.image).argmax(dim=1),
            "alike neighbours": messages(ones, self._features(batch), batch.valid, self.settings)[:, 0],
        }


def crf_energy(probability: Tensor, image: Tensor, valid: Tensor, settings: GatedCRFSettings) -> Tensor:
    """Σ_i Σ_{j≠i} k_ij Σ_k p_i(k) (1 - p_j(k)) over valid i and j in the window, divided by the valid pixels.

    `probability`: (B, K, H, W), sums to 1 over K; `image`: (B, C, H, W); `valid`: (B, H, W) bool. Every pair counts
    twice, once from each end.
    """
    message = messages(probability.detach(), image, valid, settings)
    reach = message.sum(dim=1, keepdim=True)  # Σ_j k_ij, because p_j sums to 1
    # k is symmetric, so the energy Σ p (reach - message) has the gradient reach - 2 message. A sum with this fixed
    # gradient, shifted to the energy's value, spares autograd the window.
    energy = (probability * (reach - 2 * message)).flatten(1) + (probability.detach() * message).flatten(1)
    return (energy * valid[:, None].expand_as(probability).flatten(1)).sum() / valid.sum().clamp_min(1)


@torch.no_grad()
def messages(values: Tensor, image: Tensor, valid: Tensor, settings: GatedCRFSettings) -> Tensor:
    """Σ_{j≠i} k_ij v_j over the valid j in the window of each pixel i: (B, K, H, W) of values (B, K, H, W).

    k_ij = exp(-|i - j|² / 2σ_position² - |x_i - x_j|² / 2σ_intensity²), `image` x: (B, C, H, W).
    """
    values = (values * valid[:, None]).contiguous()
    features = image / (settings.sigma_intensity * math.sqrt(2))
    total = torch.zeros_like(values)
    height, width = valid.shape[1:]
    for down, right in _half_window(settings.radius, height, width):
        here = (..., slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (..., slice(down, height), slice(max(0, right), width + min(0, right)))
        distance = (features[here] - features[there]).square_().sum(dim=1, keepdim=True)
        kernel = distance.add_((down**2 + right**2) / (2 * settings.sigma_position**2)).neg_().exp_()
        total[here].addcmul_(kernel, values[there])
        total[there].addcmul_(kernel, values[here])
    return total


def _half_window(radius: int, height: int, width: int) -> list[tuple[int, int]]:
    """Shifts (down, right) to one of each two opposite neighbours in the window."""
    down_most, right_most = min(radius, height - 1), min(radius, width - 1)
    shifts = [(0, right) for right in range(1, right_most + 1)]
    return shifts + [(down, right) for down in range(1, down_most + 1) for right in range(-right_most, right_most + 1)]
