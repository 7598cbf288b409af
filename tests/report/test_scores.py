"""Rows are pooled over folds, averaged over seeds and paired by case."""

import json
import math

import numpy as np
import pytest

from pclmix.errors import InputError
from pclmix.report.qualitative import choose_cases, chooser
from pclmix.report.results import read_results
from pclmix.report.scores import compare, dice_columns, hd95_columns, row_scores, seed_deviation

from .conftest import PATIENTS, shifts


def named(results, name, view="default"):
    return next(row_scores(results, row, view) for row in results.comparison() if row.name == name)


def test_folds_are_pooled_and_seeds_averaged_a_volume(results):
    ours = named(read_results(results), "pclmix")
    assert ours.cases == tuple(sorted(PATIENTS)) and ours.complete
    # One of ten rows off is Dice .9, two are .8: .85 a volume; with the other class .95 and .9.
    assert dice_columns(ours)[0].mean == pytest.approx(0.85)
    assert ours.seeds == pytest.approx({0: 0.95, 1: 0.90})
    assert seed_deviation(ours) == pytest.approx(0.05 / math.sqrt(2))
    assert math.isnan(seed_deviation(named(read_results(results), "pce")))


def test_infinite_distances_are_counted_and_left_out_of_the_mean(results):
    pce = named(read_results(results), "pce")
    first, second, mean = hd95_columns(pce)
    assert (first.mean, first.infinite) == (pytest.approx(6.0), 0)  # four rows of 1.5 mm
    assert (second.mean, second.infinite) == (0.0, 1)
    assert (mean.mean, mean.infinite) == (pytest.approx(3.0), 1)
    assert np.isinf(pce.volume_hd95).sum() == 1


def test_rows_are_paired_by_case_whatever_their_order(maker):
    off = shifts(0, 2)
    maker.row("comparison", "pclmix", [maker.job("pclmix", off)])
    maker.row("comparison", "same", [maker.job("same", dict(reversed(off.items())))])
    path = maker.root / "jobs" / "same" / "job.json"
    tree = json.loads(path.read_text())
    tree["scores"]["default"]["cases"] = dict(reversed(tree["scores"]["default"]["cases"].items()))
    path.write_text(json.dumps(tree))
    results = read_results(maker.write())
    versus = compare([named(results, "same")], named(results, "pclmix"))["same"]
    assert (versus.volumes, versus.difference, versus.low, versus.high, versus.p_dice) == (12, 0, 0, 0, 1)


def test_every_complete_row_is_tested_and_corrected(results):
    found = read_results(results)
    tests = compare(
        [named(found, name) for name in ("full", "pclmix", "pce", "late", "nnU-Net")], named(found, "pclmix")
    )
    assert set(tests) == {"full", "pce", "nnU-Net"}
    assert tests["nnU-Net"].difference == pytest.approx(0.85 - 0.925)
    assert tests["pce"].low < tests["pce"].difference < tests["pce"].high < 0
    # All 12 of 12 volumes worse: 2 / 2^12, exactly; three tests.
    assert tests["pce"].p_dice == pytest.approx(2 / 2**12) and tests["pce"].holm_dice == pytest.approx(6 / 2**12)
    assert compare([named(found, "pce")], named(found, "late")) == {}


def test_cases_are_chosen_by_the_upper_bound(results):
    found = read_results(results)
    assert chooser(found).row.name == "full"
    # Rows off by case: 0 0 0 0 1 1 1 1 2 2 2 2; the sixth of twelve in the order of Dice is the lower middle one.
    assert choose_cases(named(found, "full")) == {"median": "p3_es", "worst": "p5_ed"}


def test_without_an_upper_bound_the_reference_chooses(maker):
    maker.told["upper"] = ""
    maker.row("comparison", "other", [maker.job("other", shifts(1))])
    maker.row("comparison", "pclmix", [maker.job("pclmix", shifts(0))])
    assert chooser(read_results(maker.write())).row.name == "pclmix"


@pytest.mark.parametrize(
    "spoil, found",
    [
        (lambda m: (m.root / "experiment.toml").unlink(), "experiment.toml: no such file"),
        (lambda m: (m.root / "experiment.toml").write_text("title = 'a'"), "no rows"),
        (lambda m: (m.root / "experiment.toml").write_text("title ="), "not readable TOML"),
        (lambda m: (m.root / "jobs" / "a" / "job.json").unlink(), "no finished job"),
        (lambda m: (m.root / "jobs" / "a" / "job.json").write_text("{"), "not readable JSON"),
        (lambda m: (m.root / "jobs" / "a" / "job.json").write_text('{"version": 2}'), "version 2, expected 1"),
        (lambda m: (m.root / "jobs" / "a" / "job.json").write_text('{"version": 1}'), "no 'row'"),
    ],
)
def test_wrong_input_is_one_line(maker, spoil, found):
    maker.row("comparison", "a", [maker.job("a", {"p1_ed": 1})])
    maker.write()
    spoil(maker)
    with pytest.raises(InputError) as error:
        read_results(maker.root)
    assert found in str(error.value) and "\n" not in str(error.value)
