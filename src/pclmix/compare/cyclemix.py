"""CycleMix: scribbles added by mixing and taken away by occlusion, consistently (Zhang & Zhuang, CVPR 2022)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from pclmix.compare.base import Losses, Method
from pclmix.compare.puzzle_mix import Puzzle, draw_puzzle, mix
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy
from pclmix.network.dual import SegmentationNet, pretrained_segmentation_net


class CycleMixSettings(Tree):
    """Weights as in the published code."""

    mixed: float = Field(1.0, ge=0)
    """Of the loss on the mixed, occluded images' scribbles."""
    global_consistency: float = Field(0.1, ge=0)
    """Of the difference between the mixed images' predictions and the mix of the unmixed images' predictions."""
    local_consistency: float = Field(0.1, ge=0)
    """Of the difference between the predictions and their largest components."""
    occluded: float = Field(32 / 212, gt=0, le=1)
    """Side of the occluded square over the image's shorter side; published 32 pixels of 212."""


class SalientNet(nn.Module):
    """A segmentation network that can also say which pixels its supervised loss depends on."""

    def __init__(self, segmenter: SegmentationNet) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, x: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K, H, W) of images (B, C, H, W), and where `target` (B, H, W) is given the saliency (B, H, W):
        the root mean square over channels of the gradient of the cross entropy's sum by the image.

        The gradient is taken here, inside what Fabric wraps, as Fabric refuses any backward pass but its own outside.
        """
        if target is None:
            return self.segmenter(x), None
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self.segmenter(x)
            loss = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        return logits, gradient.square().mean(dim=1).sqrt()


class CycleMix(Method):
    """pCE(z, s) + pCE(z̃, s̃) + .1 [1 - cos(p̃, mix(p))] + .1 [1 - cos(p, c(p))]; ~ is of the mixed, occluded images.

    Mixing is Puzzle Mix by the saliency of pCE(z, s); mix(p) are the predictions of the unmixed images under the same
    masks and moves, c(p) one-hot of argmax p with each foreground class reduced to its largest component (of 4-
    neighbours, ours). Cosines are over the classes, averaged over the valid pixels, and both arguments but c learn.
    A rotated square of the mixed image is set to 0; it is IGNORE in s̃ and out of the global consistency, as in the
    published code, where its label and its prediction are 0 for all classes. Ours: scribbles and predictions move
    along with the blocks, where that code moves the images alone; the square is rotated, where that code rotates the
    occluded image and turns the prediction back; numbers of Puzzle Mix named in its file.
    """

    name = "cyclemix"
    summary = "Puzzle Mix and occlusion of images and scribbles, global and local consistency"
    citation = "Zhang & Zhuang, CycleMix: A Holistic Strategy for Segmentation from Scribble Supervision, CVPR 2022"
    OwnSettings = CycleMixSettings
    settings: CycleMixSettings

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """Encoder and CNN decoder."""
        return SalientNet(pretrained_segmentation_net(plan))

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """The four terms; unmixed and mixed images are two looks."""
        logits, saliency = self.net(batch.image, torch.where(batch.valid, batch.scribble, IGNORE))
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        puzzle, image, scribble, valid = self._mix(batch, saliency, generator)
        mixed_logits, _ = self.net(image)
        mixed = partial_cross_entropy(mixed_logits, scribble, valid)
        p = logits.softmax(dim=1)
        wide = cosine_distance(mixed_logits.softmax(dim=1), mix(puzzle, p, 0.0), valid)
        local = cosine_distance(p, one_hot(largest_components(p), p), batch.valid)
        weight = self.settings
        total = supervised + weight.mixed * mixed + weight.global_consistency * wide
        total = total + weight.local_consistency * local
        terms = {"supervised": supervised, "mixed": mixed, "global": wide, "local": local}
        return Losses(total, {name: term.detach() for name, term in terms.items()})

    def _mix(self, batch: Batch, saliency: Tensor, generator: torch.Generator) -> tuple[Puzzle, Tensor, Tensor, Tensor]:
        """The puzzle, and the images, scribbles and valid pixels that it and the occlusion leave."""
        puzzle = draw_puzzle(batch.image, saliency * batch.valid, generator)
        size = batch.scribble.shape
        hidden = draw_occlusion(len(batch.image), (size[1], size[2]), self.settings.occluded, generator)
        hidden = hidden.to(batch.image.device)
        valid = mix(puzzle, batch.valid.float(), 0.0).bool() & ~hidden
        image = mix(puzzle, batch.image, 0.0).masked_fill(hidden[:, None], 0.0)
        scribble = torch.where(valid, mix(puzzle, batch.scribble, IGNORE), IGNORE)
        return puzzle, image.contiguous(memory_format=torch.channels_last), scribble, valid

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What is salient, what is made of it, and what is asked of the mixed prediction."""
        logits, saliency = self.net(batch.image, torch.where(batch.valid, batch.scribble, IGNORE))
        p = logits.detach().softmax(dim=1)
        puzzle, image, scribble, _ = self._mix(batch, saliency, generator)
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "saliency": saliency / saliency.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12),
            "mixed image": image,
            "mixed scribble": scribble,
            "mixed prediction": mix(puzzle, p, 0.0).argmax(dim=1),
            "largest components": largest_components(p),
            "prediction": p.argmax(dim=1),
        }


def draw_occlusion(batch: int, size: tuple[int, int], side: float, generator: torch.Generator) -> Tensor:
    """(B, H, W) bool: a square a sample, its centre anywhere in the image, turned by any angle.

    `side`: of the square, over the image's shorter side.
    """
    height, width = size
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    centre_y, centre_x, turn = (torch.rand(batch, 1, 1, generator=generator) for _ in range(3))
    y, x, angle = y - centre_y * height, x - centre_x * width, turn * (math.pi / 2)
    across, along = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    return torch.maximum(across.abs(), along.abs()) <= side * min(size) / 2


def cosine_distance(first: Tensor, second: Tensor, valid: Tensor) -> Tensor:
    """1 - cosine over the classes of two (B, K, H, W), averaged over the valid pixels (B, H, W); 0 without any."""
    distance = 1 - functional.cosine_similarity(first, second, dim=1, eps=1e-8)
    return (distance * valid).sum() / valid.sum().clamp_min(1)


def largest_components(probability: Tensor) -> Tensor:
    """argmax of (B, K, H, W) in which each class but 0 keeps its largest component; the rest is 0: (B, H, W)."""
    labels = probability.detach().argmax(dim=1)
    kept = [_largest(label, probability.shape[1]) for label in labels.cpu().numpy()]
    return torch.from_numpy(np.stack(kept)).to(labels.device)


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """(B, H, W) -> (B, K, H, W), classes and type of `like`."""
    return torch.zeros_like(like).scatter_(1, labels[:, None], 1.0)


def _largest(label: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    out = np.zeros_like(label)
    for value in range(1, classes):
        components, count = ndimage.label(label == value)
        if count:
            sizes = np.bincount(components.ravel())
            out[components == 1 + sizes[1:].argmax()] = value
    return out
