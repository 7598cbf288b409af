"""A word of doubt: the Dice to expect of a prediction whose truth nobody knows, from the network's own probabilities.

The mean probability of a class over its voxels says how sure the network is; that is not how right it is, so a line
through (confidence, true Dice) of validation cases, both as logits, turns one into the other, a class each. Of the
signs that were tried it tells most (docs/experiments.md).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pclmix.evaluate import Score

CERTAIN = 0.995
"""Dice and confidence are kept this far from 0 and 1 before their logit is taken."""

PRIOR = 0.1
"""Weight, in cases, of the line that leaves the confidence as it is; it steadies the fit to a few cases."""

BINS = 5
"""Groups of cases, by expected Dice, over which the calibration error is taken."""

LEAST = 8
"""Fewest cases that a line is fitted to."""


class Line(NamedTuple):
    """logit(expected Dice) = `intercept` + `slope` · logit(confidence); `slope` is not negative."""

    intercept: float
    slope: float


def confidence(probabilities: Tensor, labels: Tensor) -> list[float]:
    """Mean probability of each foreground class over the voxels that are labelled so.

    `probabilities`: (S, K, H, W), sum 1 over K; `labels`: (S, H, W) integer. Of a class that was predicted nowhere 1
    where less than one voxel's worth of probability was given to it, else 0.
    """
    found = []
    for label in range(1, probabilities.shape[1]):
        mask, probability = labels == label, probabilities[:, label]
        found.append(float(probability[mask].mean()) if mask.any() else float(float(probability.sum()) < 1))
    return found


class Calibration(NamedTuple):
    """Lines fitted to all cases, and the `quality` of lines fitted to the other patients, a class (by its value)."""

    lines: tuple[Line, ...]
    quality: dict[str, dict[str, float]]


def calibrate(cases: Sequence[tuple[str, Mapping[int, Score], Sequence[float]]]) -> Calibration | None:
    """From (patient, scores, confidences) of validation cases; None for fewer than `LEAST` cases or one patient."""
    patients = [patient for patient, _, _ in cases]
    if len(cases) < LEAST or len(set(patients)) < 2:
        return None
    sure = np.array([values for _, _, values in cases], np.float64)
    true = np.array([[scores[label].dice for label in sorted(scores)] for _, scores, _ in cases])
    expected = cross_fitted(sure, true, patients)
    labels = [str(label) for label in sorted(cases[0][1])]
    figures = {label: quality(expected[:, index], true[:, index]) for index, label in enumerate(labels)}
    return Calibration(fit_lines(sure, true), figures | {"mean": quality(expected.mean(axis=1), true.mean(axis=1))})


def fit_lines(sure: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[Line, ...]:
    """A line a class, confidence to true Dice, both (N, C): least squares on logits, steadied by `PRIOR`."""
    lines = []
    for x, y in zip(_logit(sure).T, _logit(true).T, strict=True):
        design = np.stack([np.ones_like(x), x], axis=1)
        target = design.T @ (y - x)  # what is left of the identity
        change = np.linalg.solve(design.T @ design + PRIOR * np.eye(2), target)
        slope = max(0.0, 1 + float(change[1]))
        intercept = float(change[0]) if slope else float(y.mean())
        lines.append(Line(intercept, slope))
    return tuple(lines)


def expected_dice(lines: Sequence[Line | tuple[float, float]], sure: Sequence[float]) -> list[float]:
    """Dice to expect of each class, from confidences; without lines the confidence itself, which is not calibrated."""
    if not lines:
        return list(sure)
    logits = [line[0] + line[1] * float(_logit(np.array(value))) for line, value in zip(lines, sure, strict=True)]
    return [1 / (1 + math.exp(-value)) for value in logits]


def cross_fitted(sure: NDArray[np.float64], true: NDArray[np.float64], patients: Sequence[str]) -> NDArray[np.float64]:
    """Expected Dice (N, C), each case by lines fitted to the other patients."""
    names = np.array(patients)
    out = np.empty_like(sure)
    for name in np.unique(names):
        lines = fit_lines(sure[names != name], true[names != name])
        for index in np.flatnonzero(names == name):
            out[index] = expected_dice(lines, sure[index])
    return out


def quality(expected: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
    """How well expected Dice tells true Dice, both (N,): correlations (Pearson's, and of ranks), mean absolute error,
    and the calibration error: |mean expected - mean true| over groups of like expectation, weighted by their size."""
    from scipy.stats import pearsonr, spearmanr  # slow to import

    order = np.argsort(expected, kind="stable")
    groups = [group for group in np.array_split(order, BINS) if len(group)]
    gaps = [len(group) * abs(float(expected[group].mean() - true[group].mean())) for group in groups]
    varied = expected.std() > 0 and true.std() > 0
    return {
        "pearson": float(pearsonr(expected, true).statistic) if varied else 0.0,
        "spearman": float(spearmanr(expected, true).statistic) if varied else 0.0,
        "mean_absolute_error": float(np.abs(expected - true).mean()),
        "calibration_error": sum(gaps) / len(true),
    }


def _logit(dice: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(dice, 1 - CERTAIN, CERTAIN)
    return np.log(kept / (1 - kept))
