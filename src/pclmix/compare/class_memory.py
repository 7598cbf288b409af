"""Class-wise contrast against remembered features, weighed by selectors (Alonso et al., ICCV 2021)."""

import torch
from torch import Tensor
from torch.nn import functional


def class_contrast(features: Tensor, scores: Tensor, labels: Tensor, memory: Tensor, memory_scores: Tensor) -> Tensor:
    """1/K Σ_c Σ_ij a_i b_j (1 - cos(z_i, m_j)) over the features z of class c and those remembered of it, m.

    Weights are sigmoids of the scores, scaled to sum 1: a over the features of c, b over its memory. `features`: (N,
    D); `scores`: (N, F), by foreground class c = 1..F, K = F + 1; `labels`: (N,), those that are no foreground class
    take no part; `memory`: (F, M, D), unit vectors, 0 where there is none; `memory_scores`: (F, M). A class without
    features or without memory adds 0, as background does.
    """
    foreground = torch.arange(1, len(memory) + 1, device=labels.device)
    member = labels[:, None] == foreground
    held = memory.any(dim=2)
    a, b = _shares(scores, member, 0), _shares(memory_scores, held, 1)
    # The sum over pairs is 1 less the product of the weighted means of unit vectors.
    means = a.T @ functional.normalize(features.float(), dim=1)
    distance = 1 - (means * torch.einsum("fm,fmd->fd", b, memory)).sum(dim=1)
    return (distance * (member.any(dim=0) & held.any(dim=1))).sum() / (len(memory) + 1)


def remember(memory: Tensor, features: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """The memory (F, M, D) after the M features (N, D) a class of highest score (N, F) joined it, or fewer where there
    are fewer; the oldest leave. `labels`: (N,), those that are no foreground class are not remembered.
    """
    size, unit = memory.shape[1], functional.normalize(features.detach().float(), dim=1)
    renewed = []
    for index, old in enumerate(memory):
        rank = scores[:, index].detach().float().masked_fill(labels != index + 1, float("-inf"))
        best = rank.topk(min(size, len(rank)))
        new = unit[best.indices[best.values > float("-inf")]]
        renewed.append(torch.cat([new, old])[:size])
    return torch.stack(renewed)


def _shares(scores: Tensor, counted: Tensor, dim: int) -> Tensor:
    """Sigmoids of the scores where counted, else 0, over their sum along `dim`."""
    weights = scores.float().sigmoid() * counted
    return weights / weights.sum(dim=dim, keepdim=True).clamp_min(1e-12)
