"""Paired tests over volumes and intervals over patients.

Both frames of a patient are alike, so intervals resample patients; the signed-rank test takes volumes one by one, as
the published tables do, and its p is therefore too small where a patient has two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

DRAWS = 10_000
DECIMALS = 9
"""Differences are rounded to this before they are ranked, so that rounding noise makes no ranks of its own."""


def paired_difference(ours: Values, theirs: Values) -> Values:
    """ours - theirs, (V,) each; infinite minus infinite is 0, finite and infinite differ by an infinite amount."""
    both = np.isinf(ours) & np.isinf(theirs)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, ours - theirs)


def signed_rank(differences: Values) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945) of paired differences (V,).

    Zero differences share their ranks between both signs (`zsplit`), which keeps p defined, 1, where nothing differs.
    Infinite differences take the largest ranks, tied among each other.
    """
    differences = np.round(differences, DECIMALS)
    finite = np.isfinite(differences)
    largest = float(np.abs(differences[finite]).max(initial=0.0))
    bounded = np.where(finite, differences, np.sign(differences) * (largest + 1))
    if not bounded.any():
        return 1.0
    return min(1.0, float(stats.wilcoxon(bounded, zero_method="zsplit").pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p of a family of tests, in the order given: Holm's step-down correction (1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def bootstrap_mean(values: Values, patients: Sequence[str], draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values` (V,), patients resampled with all their volumes.

    Efron's bootstrap (1979) over clusters; `patients`: of each value.
    """
    names, index = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=len(names))
    sizes = np.bincount(index, minlength=len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
