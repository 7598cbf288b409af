"""Expected Dice: confidence by hand, lines that are recovered, and cases that say nothing of themselves."""

import numpy as np
import pytest
import torch

from pclmix.doubt import LEAST, Line, calibrate, confidence, cross_fitted, expected_dice, fit_lines, quality
from pclmix.evaluate import Score


def test_confidence_by_hand():
    foreground = torch.tensor([[[0.8, 0.6], [0.1, 0.0]]])
    probabilities = torch.stack([1 - foreground, foreground], dim=1)
    labels = torch.tensor([[[1, 1], [0, 0]]])
    assert confidence(probabilities, labels) == [pytest.approx((0.8 + 0.6) / 2)]


def test_confidence_in_a_class_that_is_nowhere():
    probabilities = torch.zeros(1, 3, 4, 4)
    probabilities[:, 0], probabilities[:, 1], probabilities[:, 2] = 0.7, 0.01, 0.29
    assert confidence(probabilities, torch.zeros(1, 4, 4)) == [1.0, 0.0]  # 0.16 voxels' worth of 1, 4.6 of 2


def made(cases=400, intercept=-0.5, slope=0.7, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(2, 1, (cases, 1))
    y = intercept + slope * x + random.normal(0, noise, x.shape)
    return 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-y))


def test_a_line_is_recovered_and_few_cases_stay_near_the_identity():
    line = fit_lines(*made())[0]
    assert line == pytest.approx((-0.5, 0.7), abs=0.02)
    few = fit_lines(*made(cases=1))[0]
    assert abs(few.intercept) < 0.5 and abs(few.slope - 1) < 0.5


def test_more_doubt_never_means_a_better_expectation():
    sure, true = made(slope=-2)
    line = fit_lines(sure, true)[0]
    assert line.slope == 0
    assert expected_dice([line], [0.1]) == expected_dice([line], [0.9])


def test_without_lines_the_confidence_is_all_there_is():
    assert expected_dice((), [0.3, 0.9]) == [0.3, 0.9]
    assert expected_dice([Line(0, 1)], [0.3]) == [pytest.approx(0.3)]
    assert expected_dice([(0.0, 1.0)], [1.0])[0] < 1


def test_a_patients_own_truth_does_not_change_what_is_expected_of_it():
    sure, true = made(cases=20, noise=0.5)
    patients = [f"p{index // 2}" for index in range(20)]
    before = cross_fitted(sure, true, patients)
    changed = true.copy()
    changed[4:6] = 0.1
    after = cross_fitted(sure, changed, patients)
    np.testing.assert_array_equal(after[4:6], before[4:6])
    assert (after[:4] != before[:4]).all()


def test_quality_by_hand():
    expected, true = np.array([0.5, 0.6, 0.7, 0.8, 0.9]), np.array([0.6, 0.7, 0.8, 0.9, 1.0])
    figures = quality(expected, true)
    assert figures["pearson"] == pytest.approx(1) and figures["spearman"] == pytest.approx(1)
    assert figures["mean_absolute_error"] == figures["calibration_error"] == pytest.approx(0.1)
    swapped = quality(np.array([0.5, 0.6]), np.array([0.6, 0.5]))
    assert swapped["spearman"] == pytest.approx(-1)
    assert quality(np.array([0.5, 0.5]), np.array([0.6, 0.5]))["pearson"] == 0


def test_calibration_needs_cases_and_patients_enough():
    sure, true = made(cases=LEAST, noise=0.1)
    cases = [(f"p{i}", {1: Score(float(true[i, 0]), 1.0)}, [float(sure[i, 0])]) for i in range(LEAST)]
    found = calibrate(cases)
    assert found is not None and len(found.lines) == 1 and set(found.quality) == {"1", "mean"}
    assert calibrate(cases[:-1]) is None
    assert calibrate([("one", scores, values) for _, scores, values in cases]) is None
