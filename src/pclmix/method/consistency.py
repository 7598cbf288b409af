"""Dual consistency: under mixing (M7) and between the unlike decoders (M8)."""

from torch import Tensor

from pclmix.distributed import mean_over_ranks
from pclmix.method.supervision import partial_cross_entropy


def mix_consistency(main: Tensor, auxiliary: Tensor, pseudo: Tensor, valid: Tensor, auxiliary_weight: float) -> Tensor:
    """M7: CE(z̃_c, ỹ) + λ_t CE(z̃_t, ỹ) over the valid pixels, annotated or not."""
    return partial_cross_entropy(main, pseudo, valid) + auxiliary_weight * partial_cross_entropy(
        auxiliary, pseudo, valid
    )


def decoder_difference(main: Tensor, auxiliary: Tensor, valid: Tensor) -> Tensor:
    """One look's part of M8: the mean over valid pixels and classes of (z_c - z_t)²; logits (B, K, H, W)."""
    squares = ((main - auxiliary) * valid[:, None]).square()
    return mean_over_ranks(squares.sum() / main.shape[1], valid.sum())
