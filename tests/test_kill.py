"""SIGKILL at random moments, then --resume: the same weights as a run that nobody touched."""

import os
import random
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file

KILLS = int(os.environ.get("PCLMIX_KILLS", "1"))
STEPS = 10 * KILLS
ARGUMENTS = [
    "--steps", str(STEPS), "--seed", "3", "--set", "planner.pixels=2304", "--set", "planner.batch=4",
    "--set", "planner.depth=4", "--set", "network.swin_width=16", "--set", "network.embedding=8",
    "--set", "train.statistics_batches=2", "--set", "train.validations=4",
]  # fmt: skip
# Checkpoints by the clock would be rare in so short a run.
CODE = """
import torch, pclmix.train
from pclmix.cli import main
pclmix.train.CHECKPOINT_SECONDS = 0.3
torch.set_num_threads(1)
main()
"""


def start(phantom, run, held_out, *more):
    command = [sys.executable, "-c", CODE, "train", str(phantom), "--out", str(run)]
    command += ["--val-cases", str(held_out), *ARGUMENTS, *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def on_with(run):
    """The option that goes on with a run, or with nothing where it was killed before it had begun."""
    return "--resume" if (run / "run.toml").exists() else "--overwrite"


def finish(process):
    assert process.wait(timeout=300) == 0, process.stderr.read()


def test_killed_at_random_moments_a_run_ends_in_the_same_weights(phantom, tmp_path):
    whole, killed, held_out = tmp_path / "whole", tmp_path / "killed", tmp_path / "val.txt"
    held_out.write_text("heart002\n")
    process = start(phantom, whole, held_out)
    process.stderr.readline()
    began = time.monotonic()
    finish(process)
    seconds = time.monotonic() - began
    moments = random.Random(int(os.environ.get("PCLMIX_KILL_SEED", "0")))
    kills = 0
    while kills < KILLS:
        process = start(phantom, killed, held_out, on_with(killed))
        # The clock starts with the work: a kill falls into steps, checkpoints and validations, not into imports.
        process.stderr.readline()
        time.sleep(moments.uniform(0.0, 0.9 * seconds / KILLS))
        process.kill()
        kills += process.wait() == -9
        if (killed / "model.safetensors").exists():
            break  # the work was done before enough kills fell
    finish(start(phantom, killed, held_out, on_with(killed)))
    assert kills == KILLS
    for name in ("model.safetensors", "model_last.safetensors"):
        first, second = load_file(whole / name), load_file(killed / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert (whole / "validation.csv").read_text() == (killed / "validation.csv").read_text()
