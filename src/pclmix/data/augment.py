"""Paired augmentation of a batch. Chance (`draw`) is apart from effect (`apply`), so each is testable and replayable.

One affine grid serves the batch: bilinear for the image, nearest for label and validity. What comes in from outside
the image is invalid and IGNORE, never background.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pclmix.config import AugmentSettings
from pclmix.labels import IGNORE

CONTROL = 5
"""Control points of the elastic deformation along each side."""


SWOLLEN = (0.08, 0.2)
"""Least and largest reach of a local magnification, as fractions of the crop's shorter side."""


@dataclass(frozen=True)
class Draw:
    """Parameters of one batch. `matrix`: (B, 2, 2), output offset in pixels -> source offset in pixels, (x, y);
    `bend`: (B, 2, 5, 5), displacement (x, y) of control points spread over the output before that, as fractions of its
    sides; `near` in [0, 1) picks the stroke round which all is seen `swell` times as large, within `reach` as a
    fraction of the crop's shorter side; those and the others are (B,) floats."""

    matrix: Tensor
    bend: Tensor
    near: Tensor
    swell: Tensor
    reach: Tensor
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
    most = math.log(1 + settings.swell)
    near, swell, reach = uniform(0, 1), torch.exp(uniform(-most, most)), uniform(*SWOLLEN)
    return Draw(matrix, bend, near, swell, reach, gamma, contrast, brightness, noise, sigma, noise_seed, batch)


def _stretch(factor: Tensor, direction: Tensor) -> Tensor:
    """(B, 2, 2) symmetric matrices that shorten offsets by `factor` (B,) along `direction` (B,), radians, and lengthen
    them by it across: what lies there is seen larger along the direction and smaller across it."""
    x, y = torch.cos(direction), torch.sin(direction)
    along, across = 1 / factor, factor
    mixed = x * y * (along - across)
    return torch.stack([x * x * along + y * y * across, mixed, mixed, y * y * along + x * x * across], 1).view(-1, 2, 2)


def window_sides(crop: tuple[int, int], settings: AugmentSettings) -> tuple[int, int]:
    """Even sides (rows, columns) of a window that holds what a crop in its middle shows.

    Turned, shrunk, stretched along a side, and with its control points moved by two standard deviations. What lies in
    the slice then is real in the crop, not filled in.
    """
    factor = (1 + settings.stretch) / (1 - settings.scale) * (1 + 4 * settings.elastic)

    def reach(side: int, other: int) -> float:
        turn = min(math.radians(settings.rotation), math.atan2(other, side))  # farthest across at the diagonal
        turned = side * math.cos(turn) + other * math.sin(turn)
        return max(turned, other) if settings.right_angles else turned

    rows, columns = crop
    return 2 * math.ceil(reach(rows, columns) * factor / 2), 2 * math.ceil(reach(columns, rows) * factor / 2)


class Geometry(NamedTuple):
    """Which pixel of its slice each pixel of a crop shows, both (x, y), centres at whole numbers. `bend` (B, 2, 5, 5)
    moves the crop's pixels as in `Draw`, `frame` (B, 2, 3) leads from there, (x, y, 1), to the slice, and there `swell`
    (B,) magnifies what lies round `centre` (B, 2), within `reach` (B,) pixels."""

    bend: Tensor
    frame: Tensor
    centre: Tensor
    swell: Tensor
    reach: Tensor

    def positions(self, size: Sequence[int]) -> Tensor:
        """(B, H, W, 2) for crops of `size`."""
        y, x = torch.meshgrid(torch.arange(size[0]).float(), torch.arange(size[1]).float(), indexing="ij")
        place = torch.stack([x, y], dim=-1).expand(len(self.bend), -1, -1, -1)
        if bool(self.bend.any()):
            moved = functional.interpolate(self.bend, size=tuple(size), mode="bicubic", align_corners=True)
            place = place + moved.permute(0, 2, 3, 1) * torch.tensor([size[1], size[0]])
        # Not as matrix products, whose rounding can depend on how many samples there are: a rank has a share of them.
        along_x, along_y, shift = self.frame[:, None, None].unbind(dim=-1)
        place = along_x * place[..., :1] + along_y * place[..., 1:] + shift
        if not bool((self.swell != 1).any()):
            return place
        # A Gaussian fade keeps neighbours in order for magnifications from 1/3 up, so nothing is folded over.
        away = place - self.centre[:, None, None]
        fade = torch.exp(-away.square().sum(dim=-1) / (2 * self.reach[:, None, None] ** 2))
        return place + away * (fade * (1 / self.swell - 1)[:, None, None])[..., None]


def warp(positions: Tensor, image: Tensor, marks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Resample source windows at `positions` (B, H, W, 2), pixels (x, y) of the windows, centres at whole numbers.

    `image`: (B, C, h, w); `marks`: (B, h, w) float32, the label + 1, and 0 where nothing was imaged. Gives image
    (B, C, H, W), label (B, H, W) int64 and valid (B, H, W) bool. A pixel is valid where its nearest source pixel exists
    and was imaged; an invalid pixel is IGNORE and its image 0.
    """
    height, width = image.shape[2:]
    grid = (2 * positions + 1) / torch.tensor([width, height]) - 1
    moved = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    found = functional.grid_sample(marks[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)
    label = found[:, 0].long() - 1
    inside = label >= 0
    return moved * inside[:, None], torch.where(inside, label, IGNORE), inside


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
