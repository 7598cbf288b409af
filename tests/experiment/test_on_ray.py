"""Jobs on a real local Ray cluster; a worker that is killed midway loses nothing."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from experiment.conftest import ONE_THREAD, TWO_METHODS
from experiment.test_run import table, wait_for

from pclmix.config import load_tree, save_tree
from pclmix.data.cache import cache_folder
from pclmix.errors import InputError
from pclmix.experiment import on_ray
from pclmix.experiment.order import Order
from pclmix.experiment.run import run_experiment

pytest.importorskip("ray", reason="Ray is not installed (pip install 'pclmix[ray]')")


def processes(text: str) -> list[int]:
    """Ids of the processes whose command line holds a text."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(int(name))
    return found


def parent(process: int) -> int:
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True).stdout)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the worker in /proc")
def test_a_killed_worker_loses_no_job_and_the_table_is_the_same(untouched, experiment):
    killed = experiment
    killed.write(**TWO_METHODS)
    process = killed.start("--ray", "local")
    victim = killed.results / "jobs" / "pclmix" / "fold-1" / "seed-0"
    wait_for(lambda: (victim / "run" / "run.toml").exists())
    jobs = [job for job in processes("pclmix.experiment.job") if job in processes(str(victim))]
    assert len(jobs) == 1
    os.kill(parent(jobs[0]), signal.SIGKILL)  # the Ray worker that waits for it
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert killed.scores() == untouched.scores()
    assert table(killed.results) == table(untouched.results)


def test_a_worker_that_does_not_see_the_folder_sends_the_finished_job_home(untouched, tmp_path, monkeypatch):
    for name, value in ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    order = load_tree(Order, untouched.results / "jobs" / "pce" / "fold-1" / "seed-0" / "order.toml")
    home = tmp_path / "jobs" / order.job
    archive = on_ray.work_on(order.model_dump(mode="json"), str(home))
    assert archive and not home.exists()
    assert not in_cache(home).exists()
    home.mkdir(parents=True)
    save_tree(order, home / "order.toml")

    class Ray:
        def get(self, reference):
            return reference

    on_ray._gather(Ray(), archive, home)
    record = json.loads((home / "job.json").read_text())
    assert record["scores"] == untouched.scores()[order.job]
    assert sorted(path.name for path in (home / "predictions").iterdir())[0] == "heart002_frame01.nii.gz"
    assert (home / "run" / "model.safetensors").exists()


def in_cache(home: Path) -> Path:
    """Where a worker that does not see a job's folder works."""
    return cache_folder() / "jobs" / home.relative_to("/")


COUNTING_JOB = """
import sys, pathlib
place = pathlib.Path(sys.argv[1])
if (place / "job.json").exists(): sys.exit()
with (place / "checkpoint").open("a") as file: file.write("x")
if (place / "checkpoint").stat().st_size < 2: sys.exit(1)
(place / "job.json").write_text("{}")
"""
"""Stands in for a job: it fails at the first try, and its second, which goes on from its checkpoint, is whole."""


@pytest.fixture
def cached_job(untouched, tmp_path, monkeypatch):
    """An order that did not end well on a worker that does not see its folder, and that folder."""
    monkeypatch.setattr(on_ray, "COMMAND", (sys.executable, "-c", COUNTING_JOB))
    order = load_tree(Order, untouched.results / "jobs" / "pce" / "fold-1" / "seed-0" / "order.toml")
    home = tmp_path / "elsewhere" / order.job
    assert names(work(order, home)) == ["checkpoint", "failed.json", "job.log"]
    return order, home


def work(order: Order, home: Path) -> bytes:
    return on_ray.work_on(order.model_dump(mode="json"), str(home))


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted(tar.getnames())


def test_the_same_order_goes_on_in_the_cache_and_leaves_nothing_there(cached_job):
    order, home = cached_job
    assert "job.json" in names(work(order, home))
    assert not in_cache(home).exists()


@pytest.mark.parametrize("result", [False, True])
def test_another_order_of_the_same_place_begins_anew(cached_job, result):
    """An earlier experiment of the same name, other settings: neither its scores nor its checkpoint are taken."""
    order, home = cached_job
    if result:
        (in_cache(home) / "job.json").write_text("old scores")
    assert "job.json" not in names(work(order.model_copy(update={"seed": order.seed + 1}), home))
    assert (in_cache(home) / "checkpoint").read_text() == "x"


def test_an_order_of_another_version_in_the_cache_is_none_of_ours(cached_job):
    order, home = cached_job
    (in_cache(home) / "order.toml").write_text("of_another_version = 1")
    assert "job.json" not in names(work(order, home))


def test_a_job_that_is_lost_says_so(untouched, experiment):
    experiment.write(**TWO_METHODS)
    order = load_tree(Order, untouched.results / "jobs" / "pce" / "fold-1" / "seed-0" / "order.toml")
    folder = experiment.results / "jobs" / order.job
    save_tree(order, folder / "order.toml")

    class Ray:
        def get(self, reference):
            raise RuntimeError("the node is gone")

    on_ray._gather(Ray(), None, folder)
    assert "lost on the cluster (RuntimeError: the node is gone)" in (folder / "failed.json").read_text()


def test_an_address_where_no_cluster_is_brings_one_line(experiment):
    experiment.write(folds='[{test = ["heart002"]}]')
    with pytest.raises(InputError, match=r"--ray 127.0.0.1:1: cannot be reached"):
        run_experiment(experiment.file, ray="127.0.0.1:1")
