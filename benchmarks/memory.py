"""Memory of a training run, preset cpu, and how it grows with the data.

Ours: the largest `RssAnon` of /proc/PID/status while `pclmix train` runs: anonymous memory, pages mapped from files
apart. It is read every 10 ms by this process, of the whole run as a user starts it: reading and preprocessing the data
(the cache is empty), training steps, validation of the patients left out, the model file.
The data sets: as many phantom hearts as ACDC has to train on (160 volumes of 256 x 216 x 10), and a tenth of them.
Linux only.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import material
from benchmarks.step import TINY
from benchmarks.timing import Row

GIB = 1024**2  # kB


def bench(runs: int, quick: bool) -> list[Row]:
    """Two rows: against the bound, and 10 times the data against the data."""
    sizes, steps = ((4, 12), 2) if quick else ((16, 160), 12)
    small, large = (_made(cases) for cases in sizes)
    peaks = [(_peak(small, steps, quick), _peak(large, steps, quick)) for _ in range(runs)]
    some, many = [few for few, _ in peaks], [lot for _, lot in peaks]
    what = f"largest anonymous memory of pclmix train, preset cpu, {steps} steps"
    return [
        Row("memory", f"{what}, {sizes[1]} cases", "none", many, [0.0] * runs, 3.0, unit="GiB", difference=True),
        Row("memory with the data", f"{what}, {sizes[1]} cases", f"{sizes[0]} cases", many, some, 1.1, unit="GiB"),
    ]


def _made(cases: int) -> Path:
    """A data set of which the first patient is validated on."""
    root = material.acdc_like(material.folder() / f"hearts{cases}", cases)
    (root / "validated.txt").write_text("patient0001\n", encoding="utf-8")
    return root


def _peak(dataset: Path, steps: int, quick: bool) -> float:
    """GiB, the largest seen while a run of its own process lasts, with an empty cache."""
    folder = material.folder()
    command = [sys.executable, "-m", "pclmix", "train", str(dataset), "--out", str(folder / "run")]
    command += ["--steps", str(steps)]
    command += ["--val-cases", str(dataset / "validated.txt"), "--preset", "cpu", "--set", "train.validations=1"]
    for override in TINY if quick else ():
        command += ["--set", override]
    environment = os.environ | {"PCLMIX_CACHE": str(folder / "cache")}
    largest = 0
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            largest = max(largest, _anonymous(process.pid))
            time.sleep(0.01)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"pclmix train ended with code {process.returncode}:\n{output.read()}")
    return largest / GIB


def _anonymous(process: int) -> int:
    """kB of a running process; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)
