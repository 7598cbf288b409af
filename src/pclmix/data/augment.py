"""Paired augmentation of a batch. Chance (`draw`) is apart from effect (`apply`), so each is testable and replayable.

One affine grid serves the batch: bilinear for the image, nearest for label and validity. What comes in from outside
the image is invalid and IGNORE, never background.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from pclmix.config import AugmentSettings
from pclmix.labels import IGNORE

CONTROL = 5
"""Control points of the elastic deformation along each side."""


@dataclass(frozen=True)
class Draw:
    """Parameters of one batch. `matrix`: (B, 2, 2), output offset in pixels -> source offset in pixels, (x, y);
    `bend`: (B, 2, 5, 5), displacement (x, y) of control points spread over the output before that, as fractions of its
    sides; the others are (B,) floats."""

    matrix: Tensor
    bend: Tensor
    gamma: Tensor
    contrast: Tensor
    brightness: Tensor
    noise: Tensor
    sigma: Tensor
    noise_seed: int
    batch: int
    """Samples of the whole batch."""
    part: slice = field(default_factory=lambda: slice(None))
    """Which of them these parameters are of."""

    def share(self, part: slice) -> "Draw":
        """The parameters of a part of the batch, in order."""
        rows = {name: value[part] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, part=part, **rows)  # type: ignore[arg-type]


def draw(settings: AugmentSettings, batch: int, generator: torch.Generator) -> Draw:
    """Draw the parameters of a batch from a CPU generator."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator)

    angle = torch.deg2rad(uniform(-settings.rotation, settings.rotation))
    turns = torch.randint(0, 4, (batch,), generator=generator)
    mirror_x = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    mirror_y = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    coin = torch.rand(batch, generator=generator) < 0.5
    zoom = uniform(1 - settings.scale, 1 + settings.scale)
    if settings.right_angles:  # published: a right-angle turn and a flip, else a small rotation
        angle = torch.where(coin, turns * (math.pi / 2), angle)
        mirror_x, mirror_y = torch.where(coin, mirror_x, 1.0), torch.ones(batch)
    elif not settings.flip:
        mirror_x = mirror_y = torch.ones(batch)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack([cosine * mirror_x, -sine * mirror_y, sine * mirror_x, cosine * mirror_y], dim=1)
    half = torch.rand(batch, generator=generator) < 0.5
    gamma = torch.exp(uniform(math.log(1 - settings.gamma), -math.log(1 - settings.gamma)))
    contrast = uniform(1 - settings.contrast, 1 + settings.contrast)
    brightness = uniform(-settings.brightness, settings.brightness)
    noise = torch.where(half, uniform(0, settings.noise), 0.0)
    sigma = torch.where(half, 0.0, uniform(0, settings.blur))
    noise_seed = int(torch.randint(0, 2**62, (1,), generator=generator))
    most, direction = math.log(1 + settings.stretch), uniform(0, math.pi)
    stretched = _stretch(torch.exp(uniform(-most, most)), direction)
    bend = torch.randn((batch, 2, CONTROL, CONTROL), generator=generator) * settings.elastic
    matrix = rows.view(batch, 2, 2) @ stretched
    return Draw(matrix, bend, gamma, contrast, brightness, noise, sigma, noise_seed, batch)


def _stretch(factor: Tensor, direction: Tensor) -> Tensor:
    """(B, 2, 2) symmetric matrices that shorten offsets by `factor` (B,) along `direction` (B,), radians, and lengthen
    them by it across: what lies there is seen larger along the direction and smaller across it."""
    x, y = torch.cos(direction), torch.sin(direction)
    along, across = 1 / factor, factor
    mixed = x * y * (along - across)
    return torch.stack([x * x * along + y * y * across, mixed, mixed, y * y * along + x * x * across], 1).view(-1, 2, 2)


def places(bend: Tensor, size: Sequence[int]) -> Tensor:
    """Where each pixel of an output of `size` looks before the matrix, as (x, y) in its own pixels, centres at whole
    numbers: `bend` (B, 2, 5, 5), control points from corner to corner -> (B, H, W, 2). Bicubic in between."""
    y, x = torch.meshgrid(torch.arange(size[0]).float(), torch.arange(size[1]).float(), indexing="ij")
    still = torch.stack([x, y], dim=-1).expand(len(bend), -1, -1, -1)
    if not bool(bend.any()):
        return still
    moved = functional.interpolate(bend, size=tuple(size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return still + moved * torch.tensor([size[1], size[0]])


def warp(
    matrix: Tensor, bend: Tensor, image: Tensor, label: Tensor, valid: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Resample source windows round their centres to `size` under (B, 2, 2) matrices, bent before (see `Draw`).

    Shapes: image (B, C, h, w), label (B, h, w) integer, valid (B, h, w) bool -> the same at `size`. A pixel is valid
    where its nearest source pixel exists and is valid; an invalid pixel is IGNORE and its image 0.
    """
    height, width = image.shape[2:]
    offsets = places(bend, size) - (torch.tensor([size[1], size[0]]) - 1) / 2
    source = torch.einsum("bij,bhwj->bhwi", matrix, offsets)
    grid = 2 * source / torch.tensor([width, height])
    moved = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    flags = torch.stack([label.float(), valid.float()], dim=1)
    flags = functional.grid_sample(flags, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    inside = flags[:, 1] > 0.5
    return moved * inside[:, None], torch.where(inside, flags[:, 0].long(), IGNORE), inside


def shade(chance: Draw, image: Tensor, valid: Tensor) -> Tensor:
    """Blur, gamma, contrast, brightness and noise on (B, C, H, W); invalid pixels stay 0.

    Of a share of the batch (`Draw.share`) the noise is that which the whole batch would get there.
    """
    image = _blurred(image, chance.sigma)
    low = image.amin(dim=(2, 3), keepdim=True)
    span = (image.amax(dim=(2, 3), keepdim=True) - low).clamp_min(1e-6)
    image = ((image - low) / span).pow(_column(chance.gamma)) * span + low
    image = image * _column(chance.contrast) + _column(chance.brightness)
    generator = torch.Generator().manual_seed(chance.noise_seed)
    noise = torch.randn((chance.batch, *image.shape[1:]), generator=generator)
    image = image + noise[chance.part] * _column(chance.noise)
    return image * valid[:, None]


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur, one sigma a sample, as two grouped convolutions of radius 2."""
    if not bool((sigma > 0).any()):
        return image
    batch, channels, height, width = image.shape
    taps = torch.arange(-2, 3, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = image.reshape(1, batch * channels, height, width)
    flat = functional.conv2d(
        functional.pad(flat, (0, 0, 2, 2), mode="replicate"), kernel[:, None, :, None], groups=batch * channels
    )
    flat = functional.conv2d(
        functional.pad(flat, (2, 2, 0, 0), mode="replicate"), kernel[:, None, None, :], groups=batch * channels
    )
    return flat.view(batch, channels, height, width)
