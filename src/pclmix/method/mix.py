"""Dynamic mix augmentation: boxes, permutations and a coin (chance), and M4 (effect)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pclmix.data.batches import Batch
from pclmix.method.uncertainty import most_likely


class MixDraw(NamedTuple):
    """`main`, `auxiliary`: (B,) permutations π_c, π_t; `inside`: (B, H, W) bool, the box m; `main_inside`: the coin,
    whether the CNN decoder feeds the inside of the box."""

    main: Tensor
    auxiliary: Tensor
    inside: Tensor
    main_inside: bool


def draw_mix(batch: int, size: Sequence[int], area: float, generator: torch.Generator) -> MixDraw:
    """Draw two permutations, a box of `area` of the image a sample (aspect ratio 1:2 to 2:1, inside the image), a coin.

    The range of the aspect ratio is our choice; the published text leaves it open.
    """
    height, width = size
    main, auxiliary = torch.randperm(batch, generator=generator), torch.randperm(batch, generator=generator)
    ratio = torch.exp((2 * torch.rand(batch, generator=generator) - 1) * math.log(2))
    rows = (math.sqrt(area) * ratio.sqrt()).clamp(area, 1.0) * height
    columns = area * height * width / rows
    rows, columns = rows.round().clamp(1, height), columns.round().clamp(1, width)
    top = (torch.rand(batch, generator=generator) * (height - rows + 1)).floor()
    left = (torch.rand(batch, generator=generator) * (width - columns + 1)).floor()
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    in_rows = (y >= top.view(-1, 1, 1)) & (y < (top + rows).view(-1, 1, 1))
    in_columns = (x >= left.view(-1, 1, 1)) & (x < (left + columns).view(-1, 1, 1))
    coin = bool(torch.rand(1, generator=generator) < 0.5)
    return MixDraw(main, auxiliary, in_rows & in_columns, coin)


def mix_batch(draw: MixDraw, batch: Batch) -> Batch:
    """x̃, s̃ and ṽ of M4: inside the box the sample of one permutation, outside that of the other."""
    first, second, inside = _order(draw, batch.image.device)

    def pick(values: Tensor) -> Tensor:
        mask = inside.view(inside.shape[0], *(1,) * (values.ndim - 3), *inside.shape[1:])
        return torch.where(mask, values[first], values[second])

    return Batch(pick(batch.image), pick(batch.scribble), pick(batch.valid), pick(batch.possible))


def mixed_pseudo_label(draw: MixDraw, main: Tensor, auxiliary: Tensor) -> Tensor:
    """ỹ of M4: argmax of one decoder's probabilities inside the box and the other's outside: 2 x (B, K, H, W) ->
    (B, H, W), without gradient. Softmax keeps the order within a decoder, so logits serve as well."""
    first, second, inside = _order(draw, main.device)
    labels = most_likely(main.detach()), most_likely(auxiliary.detach())
    within, outside = labels if draw.main_inside else labels[::-1]
    return torch.where(inside, within[first], outside[second])


def _order(draw: MixDraw, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Permutation inside the box, permutation outside, the box: a decoder's pixels follow its own permutation."""
    first, second = (draw.main, draw.auxiliary) if draw.main_inside else (draw.auxiliary, draw.main)
    return first.to(device), second.to(device), draw.inside.to(device)
