"""The experiment file: what it asks for becomes jobs and rows; what cannot be is one line."""

import shutil

import pytest

from pclmix.errors import InputError
from pclmix.experiment.plan import place_orders, plan_experiment
from pclmix.experiment.spec import read_spec


def planned(experiment, *arguments, **options):
    return plan_experiment(experiment.write(*arguments, **options))


def test_folds_methods_and_seeds_multiply(experiment):
    plan = planned(experiment, "seeds = [0, 7]", methods=("pclmix", "pce"))
    assert len(plan.orders) == 2 * 2 * 2
    assert [row.row for row in plan.rows] == ["pclmix", "pce"]
    assert plan.rows[1].jobs == ("pce/fold-1/seed-0", "pce/fold-1/seed-7", "pce/fold-2/seed-0", "pce/fold-2/seed-7")
    assert plan.spec.base == "pclmix" and plan.spec.best == ""


def test_every_patient_is_tested_once_and_never_with_its_own_frames_in_training(experiment):
    folds = planned(experiment).folds
    tested = [case for fold in folds for case in fold.test]
    assert sorted(tested) == sorted(set(tested)) and len(tested) == 4
    for fold in folds:
        assert not {case.split("_")[0] for case in fold.train} & {case.split("_")[0] for case in fold.test}


def test_the_same_work_in_several_tables_is_one_job(experiment):
    more = """
[method.pclmix]
sparing = false
[ablation]
none = {"method.mix" = false}
all = {}
[sensitivity]
"method.auxiliary" = [0.2, 0.4]
[effort]
slices = [0.5, 1.0]
"""
    plan = planned(experiment, methods=("pclmix",), settings=more)
    by_row = {row.row: row.jobs for row in plan.rows}
    assert len(by_row) == 7
    assert by_row["all"] == by_row["method.auxiliary = 0.4"] == by_row["100% of the slices"] == by_row["pclmix"]
    assert len(plan.orders) == 2 * 4
    values = {row.row: (row.part, row.parameter, row.value) for row in plan.rows}
    assert values["method.auxiliary = 0.2"] == ("sensitivity", "method.auxiliary", 0.2)
    assert values["50% of the slices"] == ("effort", "slices", 0.5)


def test_settings_of_a_method_reach_that_method_alone(experiment):
    more = "[method.pclmix]\nsparing = false\nmix = false\n"
    plan = planned(experiment, methods=("pclmix", "pce"), settings=more)
    settings = {order.method: order.settings.method for order in plan.orders}
    assert settings["pclmix"]["mix"] is False and settings["pce"] == {}


@pytest.mark.parametrize(
    "options, found",
    [
        ({"version": 2}, r"study.toml: experiment file of version 2, expected version = 1"),
        ({"methods": ("pclmx",)}, "pclmx: unknown, did you mean pclmix"),
        ({"settings": '"optimizer.rat" = 1'}, "optimizer.rat: unknown, did you mean rate"),
        ({"settings": '"optimizer.rate" = -1'}, r"settings: optimizer.rate: .*greater than 0 \(found -1\)"),
        ({"settings": "rate = 1"}, "setting rate: expected section.name=value"),
        ({"settings": '[ablation]\na = {"method.weight" = 1}', "methods": ("pclmix",)}, "pclmix: weight: unknown"),
        ({"settings": "[method.em]\nweight = 1"}, "study.toml: settings of (method )?em, expected one of the methods"),
        ({"more": "sedes = [1]"}, "study.toml: sedes: unknown, did you mean seeds"),
        ({"more": "minutes = 1.0"}, "steps and minutes, expected one"),
        ({"more": "minutes = nan"}, "minutes: Input should be"),
        ({"more": 'preset = "fast"'}, "study.toml: preset fast: unknown preset"),
        ({"more": 'reference = "pclmix"'}, "reference pclmix, expected one of the methods"),
        ({"more": 'external = {pce = "x"}'}, "row pce comes twice"),
        ({"more": 'external = {other = "nowhere"}'}, "nowhere: no such folder, expected the predictions of other"),
        ({"folds": "9"}, "2 patients with dense labels, expected 9 folds"),
        ({"folds": "[]"}, "study.toml: no fold"),
        ({"folds": '[{tset = ["heart001"]}]'}, "study.toml: folds.0.tset: unknown"),
        ({"folds": "[{test = []}]"}, "fold 1: no patient to test on"),
        ({"folds": '[{test = ["heart009"]}]'}, "fold 1, test: heart009 is neither a patient nor a case"),
        ({"folds": '[{test = ["heart001"], train = ["heart001_frame02"]}]'}, "patient heart001 is on both sides"),
        ({"folds": '[{test = ["heart001", "heart002"]}]'}, "fold 1: no patient with scribbles to train on"),
        ({"folds": '[{name = "a", test = ["heart001"]}, {name = "a", test = ["heart002"]}]'}, "a name comes twice"),
    ],
)
def test_what_cannot_be_is_one_line(experiment, options, found):
    with pytest.raises(InputError, match=found) as caught:
        planned(experiment, **options)
    assert str(caught.value).startswith(f"{experiment.file}: ") and "\n" not in str(caught.value)


def test_predictions_of_another_tool_must_hold_every_test_case(experiment, phantom):
    theirs = experiment.folder / "theirs"
    theirs.mkdir(parents=True)
    for path in sorted((phantom / "labelsTr_dense").iterdir())[1:]:
        shutil.copy(path, theirs)
    with pytest.raises(InputError, match=r"study.toml: .*theirs: no prediction for heart001_frame01, expected"):
        planned(experiment, 'external = {theirs = "theirs"}')
    assert planned(experiment, 'external = {theirs = "theirs"}', folds='[{test = ["heart002"]}]').orders[1].predictions


def test_a_results_folder_of_other_settings_is_refused(experiment):
    place_orders(planned(experiment))
    place_orders(planned(experiment, "seeds = [0, 1]"))  # more of the same is welcome
    with pytest.raises(InputError, match=r"order.toml: was begun with steps 3 instead of 4"):
        place_orders(planned(experiment, steps=4))
    with pytest.raises(InputError, match=r"settings.optimizer.rate 0.002 instead of 0.1"):
        place_orders(planned(experiment, settings='"optimizer.rate" = 0.1'))


def test_a_file_that_is_no_toml(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("folds = ")
    with pytest.raises(InputError, match="a.toml: not TOML"):
        read_spec(path)
    with pytest.raises(InputError, match="cannot read"):
        read_spec(tmp_path / "none.toml")
