"""Corrections, intervals and ranks against values worked out by hand."""

import itertools

import numpy as np
import pytest

from pclmix.report.statistics import bootstrap_mean, holm, paired_difference, signed_rank

INF = np.inf


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and no p falls below one before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_signed_rank_by_enumeration():
    differences = np.array([0.1, 0.2, -0.05, 0.4, 0.3, 0.6])
    ranks = np.array([2, 3, 1, 5, 4, 6])
    sums = [float((ranks * np.array(signs)).sum()) for signs in itertools.product((0, 1), repeat=6)]
    observed = float(ranks[differences > 0].sum())
    assert signed_rank(differences) == pytest.approx(2 * np.mean([s >= observed for s in sums]))


def test_no_difference_is_p_1():
    assert signed_rank(np.zeros(8)) == 1.0
    assert signed_rank(np.full(8, 1e-13)) == 1.0


def test_infinite_distances_take_the_largest_rank():
    ours, theirs = np.array([INF, INF, 3.0, 5.0]), np.array([INF, 2.0, INF, 4.0])
    differences = paired_difference(ours, theirs)
    assert differences.tolist() == [0.0, INF, -INF, 1.0]
    assert signed_rank(differences) == signed_rank(np.array([0.0, 9.0, -9.0, 1.0]))


def test_bootstrap_of_a_known_distribution():
    values = np.random.default_rng(3).normal(0.5, 0.1, 400)
    low, high = bootstrap_mean(values, [f"p{index}" for index in range(400)])
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.0005)
    assert bootstrap_mean(values, ["same"] * 400) == pytest.approx((values.mean(), values.mean()))


def test_bootstrap_takes_both_frames_of_a_patient_together():
    values = np.array([0.0, 1.0] * 20)
    together = bootstrap_mean(values, [f"p{index // 2}" for index in range(40)])
    apart = bootstrap_mean(values, [f"p{index}" for index in range(40)])
    assert together == (0.5, 0.5) and apart[0] < 0.4 < 0.6 < apart[1]
    assert bootstrap_mean(values, [f"p{index}" for index in range(40)]) == apart
