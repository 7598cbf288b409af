"""Jobs on a real local Ray cluster; a worker that is killed midway loses nothing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from experiment.conftest import TWO_METHODS
from experiment.test_run import table, wait_for

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
