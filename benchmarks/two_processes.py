"""Two training processes on a core each against one process on one core, preset cpu.

Both are `pclmix train` as a user starts it, on the same data, with the same global batch and OMP_NUM_THREADS=1; the
run of `--devices 2` (Fabric, gloo) may use two cores of this machine, the other one. A figure is the median of
`steps_per_second` in the run's log.csv but for its first row, where both still start up, as seconds a sample. Nothing
is drawn on the way: in a run of hours ten pictures are nothing, in one of fifty steps they were a tenth of the time.
"""

import csv
import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks import material
from benchmarks.step import TINY
from benchmarks.timing import Row
from pclmix.config import Plan, load_tree

ROWS_AFTER = 10
"""Steps a row of log.csv."""


def bench(runs: int, quick: bool) -> list[Row]:
    """One row; on a machine with one core both share it."""
    steps = (2 if quick else 5) * ROWS_AFTER
    dataset = material.acdc_like(material.folder(), 8)
    measured: tuple[list[float], list[float]] = ([], [])
    _seconds_a_sample(dataset, 1, ROWS_AFTER * 2, True)  # fills the cache
    for run in range(runs):
        for devices in (2, 1) if run % 2 == 0 else (1, 2):
            measured[2 - devices].append(_seconds_a_sample(dataset, devices, steps, quick))
    return [
        Row(
            name="two processes",
            what="pclmix train --devices 2, preset cpu, a core each, a sample",
            baseline="one process on one core",
            ours=measured[0],
            base=measured[1],
            target=1.7,
            at_most=False,
        )
    ]


def _seconds_a_sample(dataset: Path, devices: int, steps: int, quick: bool) -> float:
    run = material.folder()
    command = [sys.executable, "-m", "pclmix", "train", str(dataset), "--out", str(run), "--steps", str(steps)]
    command += ["--preset", "cpu", "--devices", str(devices), "--set", "train.validations=1"]
    for override in TINY if quick else ():
        command += ["--set", override]
    cores = sorted(os.sched_getaffinity(0))[:devices]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=partial(os.sched_setaffinity, 0, cores),
    )
    if done.returncode:
        raise RuntimeError(f"pclmix train ended with code {done.returncode}:\n{done.stderr}")
    with (run / "log.csv").open(encoding="utf-8", newline="") as file:
        rates = [float(row["steps_per_second"]) for row in csv.DictReader(file)]
    return 1 / (statistics.median(rates[1:]) * load_tree(Plan, run / "plan.toml").batch)
