"""A sweep that is killed, fails in part or is resumed ends with the table of one that nobody touched."""

import shutil
import signal
import time

import nibabel as nib
import numpy as np
import pytest
from experiment.conftest import TWO_METHODS

from pclmix.errors import InputError
from pclmix.experiment.run import run_experiment


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def table(results):
    return (results / "report" / "comparison.csv").read_text()


def test_a_killed_sweep_loses_no_finished_job_and_ends_with_the_same_table(untouched, experiment):
    killed = experiment
    killed.write(**TWO_METHODS)
    process = killed.start()
    first = killed.results / "jobs" / "pclmix" / "fold-1" / "seed-0" / "job.json"
    second = killed.results / "jobs" / "pce" / "fold-1" / "seed-0"
    wait_for(lambda: (second / "run" / "run.toml").exists())
    process.kill()
    process.communicate()
    stamp = first.stat().st_mtime_ns
    assert not (second / "job.json").exists()
    with pytest.raises(InputError, match=r"not empty, expected an empty one \(or --resume\)"):  # not without --resume
        run_experiment(killed.file)
    code, _, err = killed.run("--resume")
    assert code == 0, err
    assert first.stat().st_mtime_ns == stamp
    assert killed.scores() == untouched.scores()
    assert table(killed.results) == table(untouched.results)


def test_a_stopped_sweep_says_how_to_go_on(experiment):
    experiment.write(steps=2000)
    process = experiment.start()
    wait_for(lambda: list(experiment.results.rglob("run/log.csv")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].endswith("stopped and saved; --resume continues")
    assert list(experiment.results.rglob("checkpoint.safetensors"))


def test_failed_jobs_stop_no_other_and_another_tools_predictions_stand_in_the_table(experiment, phantom):
    truths = sorted((phantom / "labelsTr_dense").glob("heart002*"))
    for name in ("theirs", "odd"):
        (experiment.folder / name).mkdir(parents=True)
        for path in truths:
            shutil.copy(path, experiment.folder / name / path.name)
    file = nib.load(truths[0])
    nib.save(nib.Nifti1Image(np.full(file.shape, 9, np.uint8), file.affine), experiment.folder / "odd" / truths[0].name)
    more = '[ablation]\nwild = {"optimizer.rate" = 1e30}\n'
    external = 'external = {theirs = "theirs", odd = "odd"}'
    experiment.write(external, methods=("pce",), folds='[{test = ["heart002"]}]', settings=more)
    code, out, err = experiment.run()
    assert code == 1 and "2 job(s) failed, the first ablation/wild/fold-1/seed-0" in err
    assert "odd/heart002_frame01.nii.gz: label 9, expected 0-3" in err
    scores = experiment.scores()
    assert set(scores) == {"pce/fold-1/seed-0", "external/theirs/fold-1"}
    assert scores["external/theirs/fold-1"]["default"]["mean"]["dice"] == 1
    assert "theirs" in out
    report = (experiment.results / "report" / "report.md").read_text()
    assert "wild" in report and "odd" in report
