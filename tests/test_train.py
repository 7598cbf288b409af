"""The run folder, the loop's promises, and a resume that is exact."""

import csv
import json
import shutil
import time
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pclmix.checkpoint import load_checkpoint
from pclmix.compare.base import Losses
from pclmix.config import load_tree, make_settings
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import read_dataset
from pclmix.data.phantom import make_phantom
from pclmix.data.plan import make_plan
from pclmix.errors import InputError
from pclmix.interrupt import Interrupted
from pclmix.network.encoder import make_encoder
from pclmix.session import Session, set_rate, step_seed
from pclmix.train import RunRecord, seconds_a_step, train

TINY = (
    "planner.pixels=2304",
    "planner.batch=4",
    "planner.depth=4",
    "network.swin_width=16",
    "network.embedding=8",
    "train.statistics_batches=2",
    "train.validations=2",
)


def settings(*more, preset="cpu"):
    return make_settings(preset, (*TINY, *more))


@pytest.fixture
def val(tmp_path):
    path = tmp_path / "val.txt"
    path.write_text("heart002\n")
    return path


def make_plan_of(folder, chosen):
    dataset = read_dataset(folder)
    return make_plan(fingerprint(dataset, dataset.cases, chosen.planner), dataset, chosen)


def same(a, b):
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class StopAt:
    """Ask a session to be killed (an exception out of nowhere) or interrupted once it has taken so many steps."""

    def __init__(self, monkeypatch, step, error):
        advance = Session.advance

        def counted(session, batch, progress):
            if session.step == step:
                raise error
            return advance(session, batch, progress)

        monkeypatch.setattr(Session, "advance", counted)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


WHOLE = ("method.sparing=false",)
"""All parts of pclmix, of which preset `cpu` leaves most out."""

RULES = ("planner.strokes=complete", "planner.rings=on")
"""Strokes rule classes out, whatever they are like."""


@pytest.mark.parametrize(("method", "more"), [("pclmix", WHOLE), ("pclmix", RULES), ("pce", ())])
def test_a_killed_run_resumes_to_the_same_weights(phantom, tmp_path, val, monkeypatch, method, more):
    arguments = {"settings": settings(*more), "method": method, "steps": 8, "val_cases": val, "seed": 4}
    whole = train(phantom, tmp_path / "whole", **arguments)
    monkeypatch.setattr("pclmix.train.CHECKPOINT_SECONDS", 0.0)
    for step in (3, 6):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            StopAt(patch, step, Killed())
            train(phantom, tmp_path / "killed", resume=True, **arguments)
    resumed = train(phantom, tmp_path / "killed", resume=True)
    for name in ("model.safetensors", "model_last.safetensors", "checkpoint.safetensors"):
        assert same(whole.run / name, resumed.run / name), name
    for name in ("plan.toml", "settings.toml", "validation.csv"):
        assert (whole.run / name).read_text() == (resumed.run / name).read_text(), name
    steps = [line.split(",")[0] for line in (resumed.run / "log.csv").read_text().splitlines()]
    assert steps == ["step", "8"]


def test_where_pclmix_spares_itself_no_second_decoder_is_trained(phantom, tmp_path, capsys):
    decoders = {}
    for more in ((), WHOLE):
        run = train(phantom, tmp_path / str(len(more)), settings=settings(*more), steps=2).run
        decoders[more] = any("auxiliary" in name for name in load_file(run / "checkpoint.safetensors"))
        said = "the second decoder, mix, contrast and consistency" in capsys.readouterr().err
        assert said == (more == ())
        assert load_tree(RunRecord, run / "run.toml").method == "pclmix"
    assert decoders == {(): False, WHOLE: True}


def test_a_sparing_run_labels_its_cases_once_and_goes_on_with_that(phantom, tmp_path, capsys):
    runs = {}
    for share in (0.5, 1.0):
        more = (*RULES, f"method.own_labels={share}", "train.validations=1")
        runs[share] = train(phantom, tmp_path / str(share), settings=settings(*more), steps=20).run
        said = capsys.readouterr().err
        assert ("learns from its own labels" in said) == ("step 10/20: looking back" in said) == (share < 1)
    held = {share: load_file(run / "checkpoint.safetensors").keys() for share, run in runs.items()}
    assert held[0.5] - held[1.0] == {"method.labels"}
    rows = {share: list(csv.DictReader((run / "log.csv").open())) for share, run in runs.items()}
    assert [float(row["dice"]) > 0 for row in rows[0.5]] == [False, True]
    assert [float(row["absent"]) > 0 for row in rows[0.5]] == [True, False]
    assert not any(float(row["dice"]) for row in rows[1.0])
    first = [{k: v for k, v in rows[share][0].items() if k != "steps_per_second"} for share in runs]
    assert first[0] == first[1]


def test_the_run_folder_holds_what_is_promised(phantom, tmp_path, val):
    result = train(phantom, tmp_path / "run", settings=settings(), steps=4, val_cases=val)
    names = {path.name for path in result.run.iterdir()}
    assert names >= {
        "model.safetensors", "model_last.safetensors", "checkpoint.safetensors", "plan.toml", "settings.toml",
        "run.toml", "fingerprint.json", "log.csv", "validation.csv", "validation.json", "tensorboard", "pictures",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".")]
    assert len(list((result.run / "pictures").glob("*.png"))) == 2
    record = load_tree(RunRecord, result.run / "run.toml")
    assert record.steps == 4 and set(record.val_cases) == {"heart002_frame01", "heart002_frame02"}
    assert set(record.train_cases) == {"heart001_frame01", "heart001_frame02"}
    scores = result.validation
    assert set(scores.default.cases) == set(record.val_cases) and 0 <= scores.plain.mean.dice <= 1
    assert {"stroke_pce", "stroke_agreement"} <= scores.figures().keys()


def test_without_validation_cases_there_are_no_scores(phantom, tmp_path, capsys):
    result = train(phantom, tmp_path / "run", settings=settings(), steps=2)
    assert result.validation is None and (result.run / "model.safetensors").exists()
    assert "validation at" not in capsys.readouterr().err and not (result.run / "validation.csv").exists()


def test_without_dense_labels_the_strokes_are_scored(phantom, tmp_path, val):
    folder = shutil.copytree(phantom, tmp_path / "data")
    shutil.rmtree(folder / "labelsTr_dense")
    result = train(folder, tmp_path / "run", settings=settings(), steps=2, val_cases=val)
    assert result.validation.default is None
    assert result.validation.figures().keys() == {"stroke_pce", "stroke_agreement"}


def test_interrupt_saves_and_says_so(phantom, tmp_path, monkeypatch):
    import os
    import signal

    advance = Session.advance

    def interrupted(session, batch, progress):
        if session.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(session, batch, progress)

    monkeypatch.setattr(Session, "advance", interrupted)
    with pytest.raises(Interrupted, match="saved at step 3 of 6"):
        train(phantom, tmp_path / "run", settings=settings(), steps=6)
    monkeypatch.setattr(Session, "advance", advance)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert train(phantom, tmp_path / "run", settings=settings(), resume=True).steps == 6


def test_minutes_fix_the_steps(phantom, tmp_path):
    result = train(phantom, tmp_path / "run", settings=settings("train.validations=1"), minutes=0.15)
    assert result.steps == load_tree(RunRecord, result.run / "run.toml").steps > 1
    with pytest.raises(InputError, match="too short"):
        train(phantom, tmp_path / "other", settings=settings(), minutes=1e-6)


def test_a_timed_step_waits_for_its_batch(monkeypatch):
    """Where batches are made more slowly than the network learns from them, the step takes as long as a batch."""

    class Source:
        def batch(self, step):
            time.sleep(0.05)
            return step

    class Quick:
        fabric, source, step = SimpleNamespace(device=torch.device("cpu")), Source(), 0

        def advance(self, batch, progress):
            return Losses(torch.zeros(()), {}), 0.0

    monkeypatch.setattr("pclmix.train.TIMED_STEPS", (4, 6))
    assert seconds_a_step(Quick()) >= 0.04


def test_minutes_reckon_with_steps_that_cost_less_after_own_labels(phantom, tmp_path, monkeypatch):
    """Half of the steps take 10 s, the other half 1 s."""
    took = {"label": [], "none": []}

    def stand_in(session):
        took["label" if session.method.labels else "none"].append(session)
        return 1.0 if session.method.labels else 10.0

    monkeypatch.setattr("pclmix.train.seconds_a_step", stand_in)
    monkeypatch.setattr("pclmix.train._loop", lambda session, validator, run, total, *_: total)
    for share, expected in ((0.5, 5.5), (1.0, 10.0)):
        chosen = settings(f"method.own_labels={share}", "train.validations=1")
        steps = train(phantom, tmp_path / str(share), settings=chosen, minutes=100)
        assert steps == pytest.approx(6000 / expected, rel=0.02)
    assert (len(took["none"]), len(took["label"])) == (2, 1)


def test_refuses_a_folder_in_use_and_another_data_set(phantom, tmp_path):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=2)
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="not empty"):
        train(phantom, run, settings=settings(), steps=2)
    assert (run / "model.safetensors").read_bytes() == before
    other = shutil.copytree(phantom, tmp_path / "data")
    (other / "labelsTr" / "heart001_frame01.nii.gz").write_bytes(
        (other / "labelsTr" / "heart002_frame01.nii.gz").read_bytes()
    )
    with pytest.raises(InputError, match=f"trained on {phantom}, found {other}, which has other files"):
        train(other, run, settings=settings(), resume=True)
    train(phantom, run, settings=settings(), steps=3, overwrite=True)
    assert load_tree(RunRecord, run / "run.toml").steps == 3


@pytest.mark.parametrize(
    "other", [{"method": "pce"}, {"seed": 1}, {"steps": 3}, {"settings": settings("optimizer.rate=0.5")}, {"val": True}]
)
def test_a_resume_with_other_arguments_is_refused(phantom, tmp_path, val, other):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=2)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    if other.pop("val", False):
        other = {"val_cases": val}
    with pytest.raises(InputError, match="than it was begun with"):
        train(phantom, run, resume=True, **other)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train(phantom, run, settings=settings(), method="pclmix", seed=0, steps=2, resume=True)


@pytest.mark.parametrize(
    ("length", "found"),
    [
        ({"steps": 0}, "--steps 0: expected at least 1"),
        ({"steps": -1}, "--steps -1: expected at least 1"),
        ({"minutes": 0}, "--minutes 0: expected a time above 0"),
        ({"minutes": -1.0}, "--minutes -1: expected"),
        ({"minutes": float("inf")}, "--minutes inf: expected"),
        ({"minutes": float("nan")}, "--minutes nan: expected"),
        ({"minutes": 1e308}, r"--minutes 1e\+308: expected"),
    ],
)
def test_a_length_that_makes_no_sense_is_refused_at_once(tmp_path, length, found):
    with pytest.raises(InputError, match=found):
        train(tmp_path / "nowhere", tmp_path / "run", **length)
    assert not (tmp_path / "run").exists()


def test_a_resume_of_nothing_begins_and_says_so(phantom, tmp_path, capsys):
    run = tmp_path / "run"
    for told in (True, False):
        train(phantom, run, settings=settings(), steps=1, resume=True)
        assert (f"{run}: no run to resume, so one begins" in capsys.readouterr().err.replace("\n", "")) == told
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        train(phantom, other, settings=settings(), steps=1, resume=True)


@pytest.mark.parametrize("val_cases", [(), ("heart003",)])
def test_a_resume_on_another_data_set_names_both(phantom, tmp_path, val_cases):
    of, run = make_phantom(tmp_path / "of", 6, 3), tmp_path / "run"
    train(of, run, settings=settings(), steps=1, val_cases=val_cases)
    with pytest.raises(InputError) as error:
        train(phantom, run, resume=True)
    assert str(error.value) == (
        f"{run}: was trained on {of}, found {phantom}, which has no case heart003_frame01; expected the same data set"
    )
    moved = of.rename(tmp_path / "moved")
    assert train(moved, run, resume=True).steps == 1


def test_a_resume_on_a_data_set_of_more_classes_names_both(phantom, tmp_path):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=1)
    other = shutil.copytree(phantom, tmp_path / "other")
    meta = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(meta | {"labels": meta["labels"] | {"scar": 4, "ignore": 5}}))
    with pytest.raises(InputError, match=f"trained on {phantom}, found {other}, which has 5 classes instead of 4;"):
        train(other, run, resume=True)


@pytest.mark.parametrize("how", ["overwrite", "resume"])
@pytest.mark.parametrize("kept", ["run.toml", "model.safetensors"])
def test_bad_input_leaves_the_run_before_as_it_was(phantom, tmp_path, how, kept):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=2)
    if kept != "run.toml":
        (run / "run.toml").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    folder = shutil.copytree(phantom, tmp_path / "data")
    path = folder / "labelsTr" / "heart002_frame02.nii.gz"
    file = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(file.shape, 9, np.uint8), file.affine, file.header), path)
    with pytest.raises(InputError, match=r"label 9, expected|but no run.toml in it"):
        train(folder, run, settings=settings(), steps=2, **{how: True})
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_missing_file_of_weights_leaves_the_run_before_as_it_was(phantom, tmp_path):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=2)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    missing = settings("network.encoder=resnet18", f"network.weights={tmp_path / 'no.pth'}", "planner.crop=32")
    with pytest.raises(InputError, match="no.pth"):
        train(phantom, run, settings=missing, steps=2, overwrite=True)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_bad_dense_labels_are_told_before_training(phantom, tmp_path, val):
    folder = shutil.copytree(phantom, tmp_path / "data")
    path = folder / "labelsTr_dense" / "heart002_frame01.nii.gz"
    file = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(file.shape, 9, np.uint8), file.affine, file.header), path)
    with pytest.raises(InputError, match=r"heart002_frame01.nii.gz: label 9, expected 0-3"):
        train(folder, tmp_path / "run", settings=settings(), steps=2, val_cases=val)
    assert not any((tmp_path / "run").iterdir())


def test_patients_that_the_data_set_holds_out_are_held_out(phantom, tmp_path):
    folder = shutil.copytree(phantom, tmp_path / "data")
    (folder / "val_cases.txt").write_text("heart002\n")
    run = train(folder, tmp_path / "run", settings=settings(), steps=1).run
    assert set(load_tree(RunRecord, run / "run.toml").train_cases) == {"heart001_frame01", "heart001_frame02"}


def test_a_run_on_some_of_the_cases_is_resumed_without_naming_them_again(mixed, tmp_path, capsys):
    """Among them one that nobody annotated; and what is named again must be the same."""
    named = ["heart001_frame01", "heart002_frame01"]
    whole = {"train_cases": named, "settings": settings(), "steps": 2}
    run = train(mixed, tmp_path / "run", **whole).run
    record = load_tree(RunRecord, run / "run.toml")
    assert len(record.train_cases) == 1 and len(record.unlabelled_cases) == 1
    before = (run / "model.safetensors").read_bytes()
    capsys.readouterr()
    train(mixed, run, resume=True, minutes=3)
    assert "--minutes does nothing here: T = 2 was fixed" in capsys.readouterr().err
    train(mixed, run, resume=True, train_cases=named)
    assert (run / "model.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="other training cases"):
        train(mixed, run, resume=True, train_cases=["heart001"])


def test_a_run_killed_at_its_very_end_logs_its_last_validation_once(phantom, tmp_path, val, monkeypatch):
    def killed(*arguments):
        raise Killed

    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("pclmix.train.save_curves", killed)
        train(phantom, run, settings=settings(), steps=2, val_cases=val)
    train(phantom, run, settings=settings(), resume=True)
    assert [line.split(",")[0] for line in (run / "validation.csv").read_text().splitlines()] == ["step", "1", "2"]


def test_a_resume_needs_no_file_of_imagenet_weights(phantom, tmp_path, monkeypatch):
    weights = tmp_path / "resnet18.safetensors"
    resnet = settings("network.encoder=resnet18", f"network.weights={weights}", "planner.crop=32")
    encoder = make_encoder(make_plan_of(phantom, resnet))
    save_file({name: tensor.clone() for name, tensor in encoder.resnet.state_dict().items()}, weights)
    monkeypatch.setattr("pclmix.train.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        StopAt(patch, 1, Killed())
        train(phantom, tmp_path / "run", settings=resnet, steps=2)
    weights.unlink()
    assert train(phantom, tmp_path / "run", resume=True).steps == 2


def test_a_loss_that_is_no_number_stops_with_advice(phantom, tmp_path):
    with pytest.raises(InputError, match="optimizer.rate"):
        train(phantom, tmp_path / "run", settings=settings("optimizer.rate=1e30"), steps=10)


def test_a_full_disk_during_a_checkpoint_leaves_the_last_one(phantom, tmp_path, monkeypatch):
    import errno

    run = tmp_path / "run"
    monkeypatch.setattr("pclmix.train.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        StopAt(patch, 3, Killed())
        train(phantom, run, settings=settings(), steps=6)
    before = (run / "checkpoint.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"checkpoint.safetensors: cannot write \(No space"),
    ):
        patch.setattr("pclmix.checkpoint.save_file", full)
        train(phantom, run, settings=settings(), resume=True)
    assert (run / "checkpoint.safetensors").read_bytes() == before
    assert not list(run.glob(".writing-*"))


def test_a_foreign_checkpoint_is_refused(phantom, tmp_path):
    run = tmp_path / "run"
    train(phantom, run, settings=settings(), steps=2)
    shutil.copy(run / "model.safetensors", run / "checkpoint.safetensors")
    with pytest.raises(InputError, match="expected pclmix-checkpoint-1"):
        train(phantom, run, settings=settings(), resume=True)
    (run / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(run / "checkpoint.safetensors", None)


def test_rate_is_a_function_of_progress():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    published = make_settings("paper").optimizer
    assert set_rate(optimizer, published, 0.0) == 0.03
    assert set_rate(optimizer, published, 0.5) == pytest.approx(0.03 * 0.5**0.9) == optimizer.param_groups[0]["lr"]
    warm = make_settings("cpu").optimizer
    assert set_rate(optimizer, warm, 0.0) < 0.1 * warm.rate


def test_step_seeds_differ_by_everything():
    seeds = {step_seed(s, t, p) for s in range(3) for t in range(50) for p in ("network", "method")}
    assert len(seeds) == 300 and all(0 <= seed < 2**63 for seed in seeds)


def test_training_learns(phantom, tmp_path):
    result = train(phantom, tmp_path / "run", settings=settings("train.validations=1"), steps=30)
    rows = np.genfromtxt(result.run / "log.csv", delimiter=",", names=True)
    assert rows["supervised"][-1] < 0.8 * rows["supervised"][0]


def test_odd_strokes_are_told_before_training(phantom, tmp_path, capsys):
    folder = shutil.copytree(phantom, tmp_path / "data")
    for path in (folder / "labelsTr").iterdir():  # nobody drew the right ventricle, one forgot the background
        file = nib.load(path)
        array = np.asarray(file.dataobj).copy()
        array[array == 1] = 4
        if path.name.startswith("heart002_frame01"):
            array[array == 0] = 4
        nib.save(nib.Nifti1Image(array, file.affine, file.header), path)
    train(folder, tmp_path / "run", settings=settings(), steps=1)
    told = capsys.readouterr().err.splitlines()
    assert f"warning: {folder / 'labelsTr'}: no stroke on the background (heart002_frame01)" in told
    assert f"warning: {folder / 'labelsTr'}: nobody annotated class 1 (RV)" in told


def test_pictures_get_labels_as_integers_and_maps_as_floats(phantom, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("pclmix.train.save_panels", lambda path, panels, classes: drawn.update(panels))
    train(phantom, tmp_path / "run", settings=settings(*WHOLE), steps=1)
    kinds = {name: panel.dtype.kind for name, panel in drawn.items()}
    labels = {"scribble", "pseudo label", "mixed scribble", "mixed label", "prediction"}
    assert {name for name, kind in kinds.items() if kind == "i"} == labels
    assert {name for name, kind in kinds.items() if kind == "f"} == {"image", "uncertainty", "mixed image"}


@pytest.fixture
def mixed(tmp_path):
    """Two scribbled hearts of one patient, and four of two others without any label."""
    return make_phantom(tmp_path / "mixed", 6, 3, scribbled=2)


def rows_of(run):
    return list(csv.DictReader((run / "log.csv").read_text().splitlines()))


@pytest.mark.parametrize(
    ("share", "more", "since", "drawn"),
    [
        (1.0, WHOLE, "", 0.25),
        (0.34, WHOLE, "", 0.25),  # makes its labels after two steps
        (0.34, (), " from step 2 on", 0.25 * 4 / 6),  # strokes alone have no use for them, own labels do
    ],
)
def test_unlabelled_cases_take_part_and_a_killed_run_with_them_is_resumed_exactly(
    mixed, tmp_path, monkeypatch, capsys, share, more, since, drawn
):
    arguments = {"settings": settings(*more, f"method.own_labels={share}"), "steps": 6, "seed": 4}
    whole = train(mixed, tmp_path / "whole", **arguments)
    told = capsys.readouterr().err
    assert "2 cases to train on, and 4 unlabelled ones, 0 to validate on" in told
    assert f"slices: 16 scribble, 32 unlabelled; of the samples 25.0% are unlabelled{since} (" in told
    assert ("step 2/6: looking back" in told) == (share < 1)
    assert ("method.labels" in load_file(whole.run / "checkpoint.safetensors")) == (share < 1)
    record = load_tree(RunRecord, whole.run / "run.toml")
    assert len(record.train_cases) == 2 and len(record.unlabelled_cases) == 4
    (row,) = rows_of(whole.run)
    assert float(row["drawn_unlabelled"]) == pytest.approx(drawn, abs=1e-5)
    assert float(row["drawn_scribble"]) == pytest.approx(1 - drawn, abs=1e-5)
    assert json.loads((whole.run / "fingerprint.json").read_text())["unlabelled"] == [8] * 4
    monkeypatch.setattr("pclmix.train.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        StopAt(patch, 3, Killed())
        train(mixed, tmp_path / "killed", **arguments)
    resumed = train(mixed, tmp_path / "killed", resume=True)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        assert same(whole.run / name, resumed.run / name), name
    shutil.copy(*sorted((mixed / "imagesTr").glob("heart00[13]_frame01*")))
    with pytest.raises(InputError, match=f"trained on {mixed}, which now has other files; expected the same"):
        train(mixed, tmp_path / "killed", resume=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "pce"},
        {"settings": settings("train.unlabelled=0")},
        {"settings": settings("method.own_labels=1")},  # pclmix spares itself what uses them
    ],
)
def test_who_makes_no_use_of_unlabelled_cases_trains_as_if_they_were_not_there(mixed, tmp_path, capsys, arguments):
    arguments = {"settings": settings(), "steps": 2, **arguments}
    run = train(mixed, tmp_path / "with", **arguments).run
    assert "4 unlabelled cases are left out" in capsys.readouterr().err
    assert not load_tree(RunRecord, run / "run.toml").unlabelled_cases and "drawn_unlabelled" not in rows_of(run)[0]
    for path in (mixed / "imagesTr").glob("heart00[23]*"):
        path.unlink()
    alone = train(mixed, tmp_path / "alone", **arguments).run
    assert same(run / "model.safetensors", alone / "model.safetensors")
