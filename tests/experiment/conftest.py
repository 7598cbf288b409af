"""A small experiment on the phantom, as a file that tests may change."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pclmix.experiment.job import run_job
from pclmix.experiment.plan import place_orders, plan_experiment
from pclmix.experiment.run import save_rows
from pclmix.report.write import write_report

TINY = """
"planner.pixels" = 1024
"planner.batch" = 2
"planner.depth" = 4
"network.swin_width" = 8
"network.embedding" = 4
"train.statistics_batches" = 1
"train.validations" = 1
"""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""As the tests' own process: sums of more threads are rounded otherwise."""

TWO_METHODS = {"methods": ("pclmix", "pce"), "folds": '[{test = ["heart002"]}]', "steps": 10}


class Experiment:
    """An experiment file in a folder of its own, and the command that runs it."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.folder, self.dataset = folder, dataset
        self.file = folder / "study.toml"
        self.results = folder / "study_results"
        self.started: list[subprocess.Popen] = []

    def write(self, more: str = "", *, methods=("pce",), folds="2", version=1, steps=3, settings="") -> Path:
        self.folder.mkdir(exist_ok=True)
        self.file.write_text(
            f"version = {version}\ndataset = {json.dumps(str(self.dataset))}\nsteps = {steps}\n"
            f"methods = {json.dumps(list(methods))}\nfolds = {folds}\n{more}\n[settings]\n{TINY}{settings}\n"
        )
        return self.file

    def start(self, *arguments: str) -> subprocess.Popen:
        environment = os.environ | ONE_THREAD | {"RAY_worker_niceness": "0"}  # else a busy machine starves them
        command = [sys.executable, "-m", "pclmix", "experiment", str(self.file), *arguments]
        self.started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
        return self.started[-1]

    def clean_up(self) -> None:
        """Let nothing live on that a failing test has started; its jobs end with it."""
        for process in self.started:
            process.kill()
            process.wait()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def scores(self) -> dict[str, dict]:
        """Scores by job, from the job files."""
        found = {}
        for path in sorted(self.results.rglob("job.json")):
            record = json.loads(path.read_text())
            found[record["job"]] = record["scores"]
        return found


@pytest.fixture
def experiment(tmp_path, phantom) -> Iterator[Experiment]:
    made = Experiment(tmp_path / "study", phantom)
    yield made
    made.clean_up()


@pytest.fixture(scope="session")
def untouched(tmp_path_factory, phantom) -> Experiment:
    """Two methods, run to the end without disturbance."""
    made = Experiment(tmp_path_factory.mktemp("untouched") / "study", phantom)
    made.write(**TWO_METHODS)
    plan = plan_experiment(made.file)
    place_orders(plan)
    save_rows(plan)
    for order in plan.orders:  # as the job's own process does it, without starting one
        run_job(made.results / "jobs" / order.job)
    write_report(made.results)
    return made
