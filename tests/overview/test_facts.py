"""Volumes in ml, and the order in which cases are to be looked at."""

import csv

import numpy as np
import pytest

from pclmix.config import Plan
from pclmix.overview.facts import CaseFacts, by_doubt, case_facts, write_summary

PLAN = Plan(
    channels=("mr",), classes={"background": 0, "a": 1, "b": 2}, spacing=(1, 1), crop=(8, 8), batch=2,
    intensity=("zscore",),
)  # fmt: skip


def test_a_volume_is_voxels_times_their_size_in_ml():
    labels = np.zeros((10, 10, 4), np.uint8)
    labels[:5, :4, 0] = 1
    facts = case_facts("c", labels, (2.0, 1.5, 10.0), [0.9, 0.5], PLAN)
    assert facts.volumes == {"a": pytest.approx(20 * 30 / 1000), "b": 0.0}
    assert facts.expected == {"a": 0.9, "b": 0.5} and facts.mean_expected == pytest.approx(0.7)


def test_the_summary_starts_with_what_should_be_looked_at_first(tmp_path):
    cases = [CaseFacts(name, {"a": 1.234}, {"a": dice}) for name, dice in (("x", 0.9), ("z", 0.3), ("y", 0.3))]
    assert [facts.case for facts in by_doubt(cases)] == ["y", "z", "x"]
    write_summary(tmp_path / "summary.csv", cases, calibrated=True)
    rows = list(csv.DictReader((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["case"] for row in rows] == ["y", "z", "x"]
    assert rows[0] == {"case": "y", "class": "a", "volume_ml": "1.23", "expected_dice": "0.300", "calibrated": "yes"}


def test_volumes_of_cells_are_not_rounded_away(tmp_path):
    write_summary(tmp_path / "summary.csv", [CaseFacts("x", {"a": 4.1887e-9, "b": 0.0}, {"a": 0.9, "b": 0.9})], True)
    rows = list(csv.DictReader((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["volume_ml"] for row in rows] == ["4.19e-09", "0.00"]
