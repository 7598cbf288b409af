"""Puzzle Mix: two images in one, each shown where it is salient (Kim, Choo, Song, ICML 2020).

Blocks are chosen by a minimum cut, then each image moves its own salient tiles to where it is shown. Numbers are those
of CycleMix (Zhang & Zhuang, CVPR 2022). Ours: the mask has two levels, where that code has three, so that labels stay
labels and the cut is exact; tiles, 16 along the longer side, are moved by an optimal assignment, not those of 4 pixels
by a greedy one; images are put to 0..1 by their own range for the edge term; a pair whose edge would rather be cut than
not counts as free to cut; no adversarial noise, which is off in Puzzle Mix too.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor
from torch.nn import functional

SMOOTHNESS, EDGES, PRIOR, DISTANCE = 1.2, 0.5, 0.2, 0.8
"""Published β, γ, η and the transport's ξ."""
STRIP = 4
"""Pixels that are averaged on both sides of an edge, along and across it; blocks are multiples of it."""
FINEST = 16
"""Tiles along the longer side of an image."""
SCALE = 1e7
"""Costs are whole numbers of 1/SCALE in the cut."""

Floats = NDArray[np.floating[Any]]


class Puzzle(NamedTuple):
    """`partner`: (B,), whom each image is mixed with; `kept`: (B, h, w) bool, tiles that show the image itself;
    `own`, `others`: (B, h·w), from which tile a tile of the image and of its partner comes; `tile`: its side."""

    partner: Tensor
    kept: Tensor
    own: Tensor
    others: Tensor
    tile: int


def draw_puzzle(image: Tensor, saliency: Tensor, generator: torch.Generator) -> Puzzle:
    """Choose partners, masks and moves for images (B, C, H, W) of saliency (B, H, W), not negative.

    By chance: the partners, 2, 4, 8 or 16 blocks along the longer side, and λ ~ Beta(.5, .5) for the batch.
    """
    count = 2 ** int(torch.randint(1, 5, (1,), generator=generator))
    parts = FINEST // count  # of a block of the cut, both ways, that are moved one by one
    partner = torch.randperm(len(image), generator=generator)
    ratio = math.sin(math.pi / 2 * float(torch.rand(1, generator=generator))) ** 2  # the arcsine law is Beta(.5, .5)
    tile = STRIP * math.ceil(max(image.shape[-2:]) / FINEST / STRIP)
    block = tile * parts
    salient = block_saliency(saliency, block).cpu().double().numpy()
    by_tile = block_saliency(saliency, tile).cpu().double().numpy()
    images = _padded(_to_unit_range(image), block, 0.0).cpu()
    beta = SMOOTHNESS / count / 16
    kept, own, others = [], [], []
    for item, other in enumerate(partner.tolist()):
        edges = [
            [boundary(images[a], images[b], block) for b in (other, item)] for a in (other, item)
        ]  # by the labels of the two blocks, 1 for the image itself
        mask = cut(salient[item], salient[other], edges, ratio, beta)
        mask = mask.repeat(parts, 0).repeat(parts, 1)[: by_tile.shape[1], : by_tile.shape[2]]
        kept.append(mask)
        own.append(moves(by_tile[item], mask))
        others.append(moves(by_tile[other], ~mask))
    first_moves, second_moves = torch.from_numpy(np.stack(own)), torch.from_numpy(np.stack(others))
    return Puzzle(partner, torch.from_numpy(np.stack(kept)), first_moves, second_moves, tile)


def mix(puzzle: Puzzle, values: Tensor, fill: float) -> Tensor:
    """(B, H, W) or (B, C, H, W) mixed as the puzzle says; `fill` is what lies beyond the image."""
    size, whole = values.shape[-2:], _padded(values, puzzle.tile, fill)
    partner = puzzle.partner.to(values.device)
    kept = puzzle.kept.to(values.device).repeat_interleave(puzzle.tile, 1).repeat_interleave(puzzle.tile, 2)
    own = move_blocks(whole, puzzle.own.to(values.device), puzzle.tile)
    others = move_blocks(whole[partner], puzzle.others.to(values.device), puzzle.tile)
    mixed = torch.where(kept if values.ndim == 3 else kept[:, None], own, others)
    return mixed[..., : size[0], : size[1]]


def block_saliency(saliency: Tensor, block: int) -> Tensor:
    """Share of each block in its image's saliency: (B, H, W) -> (B, h, w), of sum 1; equal shares where all is 0."""
    sums = functional.avg_pool2d(_padded(saliency, block, 0.0)[:, None], block)[:, 0]
    total = sums.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 0, sums / total.clamp_min(torch.finfo(sums.dtype).tiny), 1 / sums[0].numel())


def boundary(first: Tensor, second: Tensor, block: int) -> tuple[Floats, Floats]:
    """Mean difference of intensity across the edges of blocks, one side of the edge from `first`, the other from
    `second`: (C, H, W) each -> (h - 1, w) for edges under a block of `first`, (h, w - 1) for those to its right."""
    per = block // STRIP
    first, second = functional.avg_pool2d(first, STRIP), functional.avg_pool2d(second, STRIP)
    under = (first[:, per - 1 : -1 : per] - second[:, per::per]).abs().mean(dim=0)
    right = (first[:, :, per - 1 : -1 : per] - second[:, :, per::per]).abs().mean(dim=0)
    under, right = under.unflatten(1, (-1, per)).mean(dim=2), right.unflatten(0, (-1, per)).mean(dim=1)
    return under.double().numpy(), right.double().numpy()


def cut(
    own: Floats, others: Floats, edges: list[list[tuple[Floats, Floats]]], ratio: float, beta: float
) -> NDArray[np.bool_]:
    """The mask z (h, w) of least energy, true where the image shows itself, its partner elsewhere.

    Σ_i [ z_i s'_i + (1 - z_i) s_i - η/n ln(z_i ? λ : 1 - λ) ] + β Σ_neighbours { [z_i ≠ z_j] + γ d(z_i, z_j) }: s and
    s' (h, w) are the shares of saliency that showing the other would hide, d = `edges[z_i][z_j]`, j under or right of
    i.
    """
    number = own.size
    hidden_own = own - PRIOR / number * math.log(1 - ratio + 1e-8)
    hidden_other = others - PRIOR / number * math.log(ratio + 1e-8)
    places, pairs = np.arange(number).reshape(own.shape), []
    neighbours = zip(_neighbours(hidden_own), _neighbours(hidden_other), _neighbours(places), strict=True)
    for axis, (zero, one, place) in enumerate(neighbours):
        d = [[beta * EDGES * edges[a][b][axis] for b in (0, 1)] for a in (0, 1)]
        # d(z_i, z_j) as a term of z_i, one of z_j and one of z_i ≠ z_j; the arrays are views.
        one[0] += (d[1][1] + d[1][0]) / 2
        one[1] += (d[1][1] + d[0][1]) / 2
        zero[0] += (d[0][0] + d[0][1]) / 2
        zero[1] += (d[0][0] + d[1][0]) / 2
        apart = beta + (d[0][1] + d[1][0] - d[0][0] - d[1][1]) / 2
        pairs.append((place[0].ravel(), place[1].ravel(), apart.ravel()))
    first, second, apart = (np.concatenate(values) for values in zip(*pairs, strict=True))
    return least_energy(hidden_own.ravel(), hidden_other.ravel(), first, second, apart).reshape(own.shape)


def least_energy(
    zero: Floats, one: Floats, first: NDArray[np.intp], second: NDArray[np.intp], apart: Floats
) -> NDArray[np.bool_]:
    """z (n,) that minimises Σ_i (z_i ? one_i : zero_i) + Σ_pairs [z_first ≠ z_second] max(apart, 0), exactly up to
    1/SCALE a cost: the source's side of a minimum cut."""
    number = len(zero)
    source, sink = number, number + 1
    least = np.minimum(zero, one)  # a constant of the energy
    places = np.arange(number)
    tails = np.concatenate([np.full(number, source), places, first, second])
    heads = np.concatenate([places, np.full(number, sink), second, first])
    costs = np.concatenate([zero - least, one - least, np.maximum(apart, 0), np.maximum(apart, 0)])
    capacity = csr_matrix(
        coo_matrix((np.rint(costs * SCALE).astype(np.int32), (tails, heads)), shape=(number + 2, number + 2))
    )
    left = csr_matrix(capacity - maximum_flow(capacity, source, sink).flow)
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    mask = np.zeros(number + 2, bool)
    mask[reached] = True
    return mask[:number]


def moves(salient: Floats, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(h·w,): which block goes to each place, so that Σ_i [ ξ ‖i - to(i)‖² - s_i z_to(i) ] is least.

    `salient` s, `shown` z: (h, w); distances in blocks, over the longer side less one.
    """
    rows, columns = (axis.ravel() for axis in np.indices(salient.shape))
    squared = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    cost = DISTANCE * squared / max(max(salient.shape) - 1, 1) ** 2 - salient.reshape(-1, 1) * shown.reshape(1, -1)
    origin, target = linear_sum_assignment(cost)
    source = np.empty(salient.size, np.int64)
    source[target] = origin
    return source


def move_blocks(values: Tensor, source: Tensor, block: int) -> Tensor:
    """Each place of (B, ..., H, W), sides multiples of `block`, shows the block `source` (B, h·w) names for it."""
    height, width = values.shape[-2] // block, values.shape[-1] // block
    blocks = values.reshape(len(values), -1, height, block, width, block).permute(0, 2, 4, 1, 3, 5)
    blocks = blocks.flatten(1, 2)
    moved = blocks[torch.arange(len(values), device=values.device)[:, None], source]
    return moved.unflatten(1, (height, width)).permute(0, 3, 1, 4, 2, 5).reshape(values.shape)


def _neighbours(grid: NDArray[Any]) -> list[list[NDArray[Any]]]:
    """Views of a grid (h, w): what has a neighbour under it, and that one; likewise to the right."""
    return [[grid[:-1], grid[1:]], [grid[:, :-1], grid[:, 1:]]]


def _to_unit_range(image: Tensor) -> Tensor:
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    return (image - low) / (high - low).clamp_min(1e-6)


def _padded(values: Tensor, block: int, fill: float) -> Tensor:
    """Sides brought to multiples of `block`, below and to the right."""
    bottom, right = -values.shape[-2] % block, -values.shape[-1] % block
    return functional.pad(values, (0, right, 0, bottom), value=fill)
