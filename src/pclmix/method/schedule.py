"""Weights as functions of r = t/T."""

import math


def ramp(u: float) -> float:
    """exp(-5 (1 - u)²) for u in [0, 1]; values outside are clamped (Laine & Aila, ICLR 2017)."""
    u = min(max(u, 0.0), 1.0)
    return math.exp(-5 * (1 - u) ** 2)


def heterogeneous_weight(progress: float) -> float:
    """w(r) = ramp(.8 r) of M8."""
    return ramp(0.8 * progress)


def contrast_weight(progress: float, warmup: float) -> float:
    """r^0.9 of M9, and 0 during the contrast's warm-up."""
    return progress**0.9 if progress >= warmup else 0.0
