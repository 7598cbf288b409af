"""Supervision by the strokes: M5, M6, and what strokes that are missing say."""

import torch
from torch import Tensor
from torch.nn import functional

from pclmix.distributed import mean_over_ranks
from pclmix.labels import IGNORE


def partial_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """M5: cross entropy averaged over the annotated pixels (of all ranks); 0 with a finite gradient without any.

    `logits`: (B, K, H, W), before softmax; `target`: (B, H, W), 0..K-1 or IGNORE; `valid`: (B, H, W) bool, pixels that
    were imaged, all where it is None.
    """
    if valid is not None:
        target = torch.where(valid, target, IGNORE)
    total = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return mean_over_ranks(total, (target != IGNORE).sum())


def supervised_loss(
    main: Tensor, auxiliary: Tensor, target: Tensor, valid: Tensor | None, auxiliary_weight: float
) -> Tensor:
    """Half of M6, for one look at the image: pCE(z_c, s) + λ_t pCE(z_t, s)."""
    return partial_cross_entropy(main, target, valid) + auxiliary_weight * partial_cross_entropy(
        auxiliary, target, valid
    )


def absence_loss(logits: Tensor, possible: Tensor, valid: Tensor) -> Tensor:
    """-ln Σ_{k possible} p_k, averaged over the valid pixels: what is lost on classes that are ruled out.

    `logits`: (B, K, H, W); `possible`: the same shape, bool, background always true; `valid`: (B, H, W) bool. Not of
    the published method: see `Plan.complete_strokes` and `Plan.rings`.
    """
    # Background is always possible, and its ln p among what is possible less its ln p among all is what we ask for:
    # log_softmax has a quicker gradient than logsumexp.
    left = rule_out(logits, possible).log_softmax(dim=1)[:, 0] - logits.log_softmax(dim=1)[:, 0]
    return mean_over_ranks((left * valid).sum(), valid.sum())


def rule_out(logits: Tensor, possible: Tensor) -> Tensor:
    """Logits (B, K, H, W) with those of classes that are not possible at minus infinity."""
    return torch.where(possible, logits, float("-inf"))
