"""Uncertainty of the two decoders' mean and the certain labels made of it: M1 and M2."""

import math

import torch
from torch import Tensor

from pclmix.labels import IGNORE
from pclmix.method.schedule import ramp


def mean_probability(main: Tensor, auxiliary: Tensor) -> Tensor:
    """p̄ = (p_c + p_t) / 2 of two logit maps (B, K, H, W), without gradient."""
    return (main.detach().softmax(dim=1) + auxiliary.detach().softmax(dim=1)) / 2


def entropy(probability: Tensor) -> Tensor:
    """M1: U = -Σ_k p ln p, in nats: (B, K, H, W) -> (B, H, W)."""
    return -(probability * probability.clamp_min(1e-12).log()).sum(dim=1)


def most_likely(scores: Tensor) -> Tensor:
    """The class of the largest score, the first of several: (B, K, H, W) -> (B, H, W).

    `max` gives what `argmax` does, which takes up to ten times as long on a CPU unless the classes lie side by side.
    """
    return scores.max(dim=1).indices


def entropy_threshold(progress: float, classes: int) -> float:
    """M2's bound, (.375 + .125 ramp(r)) ln K nats."""
    return (0.375 + 0.125 * ramp(progress)) * math.log(classes)


def certain_labels(probability: Tensor, scribble: Tensor, valid: Tensor, progress: float) -> Tensor:
    """ŷ: the scribble where annotated, else argmax p̄ where U is under M2's bound, else IGNORE; IGNORE where invalid.

    Shapes: (B, K, H, W), (B, H, W), (B, H, W) -> (B, H, W).
    """
    reliable = entropy(probability) < entropy_threshold(progress, probability.shape[1])
    guess = torch.where(reliable, most_likely(probability), IGNORE)
    return torch.where(valid, torch.where(scribble != IGNORE, scribble, guess), IGNORE)
