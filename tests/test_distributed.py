"""One run in two processes on the CPU: it trains as one process does, stops and resumes, and never hangs.

Run as a program, this file is one of two ranks that check from within what they must agree on.
"""

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from pclmix import distributed
from pclmix.compare.registry import METHODS
from pclmix.config import make_settings
from pclmix.data.batches import BatchSource
from pclmix.data.cache import build_cache
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import read_dataset
from pclmix.data.plan import make_plan
from pclmix.errors import InputError
from pclmix.session import open_session, step_seed
from pclmix.train import train
from pclmix.validation import Validator

TINY = (
    "planner.pixels=2304",
    "planner.batch=4",
    "planner.depth=4",
    "network.swin_width=16",
    "network.embedding=8",
    "train.statistics_batches=2",
    "train.validations=2",
    "train.precision=32-true",
)
METHODS_TRIED = ("pclmix", "s2l", "trimix", "ustm")
"""One with a memory, one that predicts whole slices, one of three networks, one with a teacher."""

WHOLE = ("method.sparing=false", "method.contrast_warmup=0")
"""Both decoders, and contrast from the first step."""

STEPS = 20
"""Of the run that is stopped, killed and resumed."""

LIMIT = 120
"""Seconds after which a process counts as hanging."""


def options(*more):
    return [part for setting in (*TINY, *more) for part in ("--set", setting)]


def start(*command, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finish(process):
    """Exit code, stdout and stderr, once all that hold them (so the other rank too) are gone."""
    try:
        out, error = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, error


@pytest.fixture
def val(tmp_path):
    path = tmp_path / "val.txt"
    path.write_text("heart002\n")
    return path


@pytest.fixture(scope="module")
def ranks(phantom, tmp_path_factory):
    """Two ranks that check what they must agree on, and then train in `whole`; how they ended."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "val.txt").write_text("heart002\n")
    cache = {"PCLMIX_CACHE": str(folder / "cache")}
    both = [start(__file__, rank, folder, phantom, LOCAL_RANK=str(rank), WORLD_SIZE="2", **cache) for rank in range(2)]
    return folder / "whole", [finish(process) for process in both]


@pytest.fixture
def prepared(phantom):
    return prepare(phantom)


def prepare(folder, *more):
    settings = make_settings("cpu", (*TINY, *more))
    dataset = read_dataset(folder)
    plan = make_plan(fingerprint(dataset, dataset.cases, settings.planner), dataset, settings)
    return settings, dataset, plan, build_cache(dataset, dataset.cases, plan, dense=True)


def table(path):
    return np.genfromtxt(path, delimiter=",", names=True)


ALIKE = ("network.norm=group", "optimizer.name=sgd", "optimizer.rate=0.005", "planner.batch=4")
"""Group norm knows no batch. So one process and two differ by the order of sums in fp32 alone, which SGD passes on as
it is (AdamW divides by the size of the gradient, and so magnifies the rounding of small ones). At a larger rate single
maxima of the pooling flip within a dozen steps, and what follows is no rounding any more."""


def test_two_processes_train_as_one_does(phantom, tmp_path, val):
    arguments = ["train", phantom, "--out", tmp_path / "two", "--method", "pce", "--steps", "4", "--val-cases", val]
    process = start("-m", "pclmix", *arguments, "--devices", "2", *options(*ALIKE))
    settings = make_settings("cpu", (*TINY, *ALIKE))
    one = train(phantom, tmp_path / "one", settings=settings, method="pce", steps=4, val_cases=val).run
    code, out, error = finish(process)
    two = tmp_path / "two"
    assert code == 0 and out.splitlines()[-1] == str(two / "model.safetensors"), error
    assert error.count("preset cpu") == error.count("validation at step 2") == 1 and "shared by 2 processes" in error
    for name in ("model.safetensors", "model_last.safetensors"):
        first, second = load_file(one / name), load_file(two / name)
        for key, value in first.items():
            torch.testing.assert_close(
                second[key], value, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key} {text}"
            )
    for name, columns in (("log.csv", ("supervised", "rate")), ("validation.csv", ("plain_dice", "stroke_pce"))):
        rows, others = table(one / name), table(two / name)
        for column in columns:
            np.testing.assert_allclose(others[column], rows[column], rtol=1e-3 if "dice" in column else 1e-4)
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())


def test_two_processes_make_the_own_labels_that_one_makes(phantom, tmp_path, val):
    special = (*ALIKE, "planner.strokes=complete", "planner.rings=on", "method.own_labels=0.5")
    arguments = ["train", phantom, "--out", tmp_path / "two", "--steps", "4", "--val-cases", val]
    process = start("-m", "pclmix", *arguments, "--devices", "2", *options(*special))
    one = train(phantom, tmp_path / "one", settings=make_settings("cpu", (*TINY, *special)), steps=4, val_cases=val).run
    code, _, error = finish(process)
    assert code == 0 and error.count("step 2/4: looking back") == 1, error
    packed = [load_file(run / "checkpoint.safetensors")["method.labels"] for run in (one, tmp_path / "two")]
    first, second = (np.frombuffer(zlib.decompress(part.numpy().tobytes()), np.uint8) for part in packed)
    assert len(np.unique(first)) == 4
    assert (first == second).mean() > 0.999  # rounding may tip a pixel between two classes


def test_a_stopped_and_killed_run_of_two_goes_on_to_the_same_weights(phantom, tmp_path, val, ranks):
    def run(*more, launcher=("-m", "pclmix"), devices=("--devices", "2")):
        arguments = ["train", phantom, "--out", broken, "--steps", STEPS, "--val-cases", val]
        return start(*launcher, *arguments, *devices, *options(*WHOLE), *more)

    broken = tmp_path / "broken"
    process = run()
    wait_for(process, lambda: list(broken.glob("tensorboard/events*")))
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # of rank 0 alone
    code, _, error = finish(process)
    assert code == 130 and error.splitlines()[-1].startswith(f"pclmix: {broken}: stopped and saved at step"), error
    checkpoint = broken / "checkpoint.safetensors"
    before = checkpoint.stat().st_mtime_ns
    process = run("--resume")
    wait_for(process, lambda: checkpoint.stat().st_mtime_ns > before)
    process.kill()
    finish(process)  # and with it the other rank is gone
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pclmix")
    code, out, error = finish(run("--resume", launcher=torchrun, devices=()))
    assert code == 0 and out.count("model.safetensors") == 1, error
    for name in ("model.safetensors", "model_last.safetensors", "checkpoint.safetensors"):
        first, second = load_file(ranks[0] / name), load_file(broken / name)
        assert all(torch.equal(first[key], second[key]) for key in first), name


def wait_for(process, done):
    began = time.monotonic()
    while not done() and process.poll() is None and time.monotonic() - began < LIMIT:
        time.sleep(0.02)


def test_a_batch_that_cannot_be_shared_out_is_one_line_and_exit_code_2(phantom, tmp_path):
    arguments = ["train", phantom, "--out", tmp_path / "run", *options("planner.batch=3")]
    code, out, error = finish(start("-m", "pclmix", *arguments, "--devices", "2"))
    wanted = "pclmix: planner.batch 3: cannot be shared out evenly among 2 processes, expected a multiple of 2\n"
    assert (code, out, error) == (2, "", wanted)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("world", [2, 3])
def test_shares_end_to_end_are_the_batch(prepared, preset, world):
    settings, _, plan, cached = prepared
    plan = plan.model_copy(update={"batch": 6})
    augment = make_settings(preset).augment

    def source(**share):
        return BatchSource(cached, plan, augment, settings.train, 3, **share)

    whole, shares = source(), [source(rank=rank, world=world) for rank in range(world)]
    for step in range(4):
        batch, parts = whole.batch(step), [share.batch(step) for share in shares]
        for name in ("image", "scribble", "valid", "possible"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name)), name
        assert torch.equal(torch.cat([part.origin.slices for part in parts]), batch.origin.slices)
        for name in batch.origin.geometry._fields:
            geometries = torch.cat([getattr(part.origin.geometry, name) for part in parts])
            assert torch.equal(geometries, getattr(batch.origin.geometry, name)), name
        assert torch.equal(shares[-1].plain_batch(step).image, whole.plain_batch(step).image)


def test_alone_there_is_nothing_to_agree_on():
    total, count = torch.tensor(6.0), torch.tensor(4)
    assert distributed.mean_over_ranks(total, count) == 1.5
    assert distributed.mean_over_ranks(total * 0, count * 0) == 0
    assert distributed.agreed(3, True, False) == (True, False)
    assert list(distributed.share_out(str, [1, 2])) == ["1", "2"]
    with pytest.raises(InputError, match="no"):
        distributed.leave(InputError("no"))


def test_torchrun_and_the_options_must_agree(monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="torchrun started 2 processes on each of 2 machines"):
        distributed.open_fabric("32-true", 3, 1)


def test_buckets_keep_order_types_and_size(monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET", 10)
    values = [torch.zeros(size) for size in (4, 6, 1)] + [torch.zeros(size, dtype=torch.double) for size in (2, 30, 3)]
    sizes = [[len(value) for value in bucket] for bucket in distributed._buckets(values)]
    assert sizes == [[4, 6], [1], [2], [30], [3]]


def test_two_ranks_agree(ranks):
    for code, _, error in ranks[1]:
        assert code == 0, error


# What follows runs in the two ranks.


def rank_main(rank, folder, phantom):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    assert (distributed.rank(), distributed.world()) == (rank, 2)
    words(rank)
    failures(rank)
    numbers(rank)
    settings, dataset, plan, cached = distributed.lead_then_follow(prepare, phantom, *WHOLE)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    for method in map(METHODS.__getitem__, METHODS_TRIED):
        trained = settings.model_copy(update={"method": settings.method if method.name == "pclmix" else {}})
        session = open_session(fabric, method, cached, plan, trained, 0, 4)
        rows = spied(session.method.memory) if method.name == "pclmix" else []
        for step in range(2):
            session.advance(session.source.batch(step), 0.2 + step / 5)
        same_everywhere(method.name, "network", session.module.state_dict())
        same_everywhere(method.name, "average", session.averaged.net.state_dict())
        same_everywhere(method.name, "state", session.method.state_dict())
        if method.name == "pclmix":
            assert rows == [4, 4] and session.method.memory.counts.sum() > 0  # keys of the whole batch
            assert (session._stream("method") == step_seed(0, 2, "method")) == (rank == 0)
            kept = session
    cases = dataset.cases[:3]
    validator = Validator(dataset, cases, cached[:3], dataset.cases, cached, plan, fabric.device, 2)
    shared = validator.at_end(kept)
    whole = train(
        phantom, folder / "whole", settings=make_settings("cpu", (*TINY, *WHOLE)), steps=STEPS,
        val_cases=folder / "val.txt", devices=2,
    )  # fmt: skip
    assert whole.rank == rank
    torch.distributed.destroy_process_group()
    alone = validator.at_end(kept)
    assert shared[2].to_json() == alone[2].to_json() and shared[1] == alone[1]
    assert list(shared[2].default.cases) == [case.id for case in cases]


def spied(memory):
    """How many images' keys join the memory, a call each."""
    rows, enqueue = [], memory.enqueue

    def counted(keys, present):
        rows.append(len(keys))
        enqueue(keys, present)

    memory.enqueue = counted
    return rows


def words(rank):
    assert distributed.lead(lambda: f"said by {distributed.rank()}") == "said by 0"
    assert distributed.lead_then_follow(lambda: distributed.rank()) == rank
    assert distributed.share_out(lambda item: item**2, range(5)) == [0, 1, 4, 9, 16]
    assert distributed.agreed(0, rank == 1, False) == (True, False)
    assert distributed.averaged({"loss": float(rank)}) == {"loss": 0.5}


def failures(rank):
    """An error on either rank ends both: the first says it, the other goes without a word."""
    for failing in range(2):

        def work(failing=failing):
            if rank == failing:
                raise InputError("file.nii.gz: damaged")

        with pytest.raises(SystemExit if rank else InputError) as ended:
            distributed.together(work)
        assert ended.value.code == 0 if rank else str(ended.value) == "file.nii.gz: damaged"


def numbers(rank):
    total = torch.tensor(6.0 if rank else 1.0, requires_grad=True)
    mean = distributed.mean_over_ranks(total, torch.tensor(6 if rank else 1))
    mean.backward()
    assert float(total.grad) == pytest.approx(2 / 7)  # averaged over ranks: 1 / 7, that of all pixels
    assert float(distributed.mean_over_ranks(total.detach(), torch.tensor(0))) == 2 * float(total.detach())
    keys = torch.full((2, 3), float(rank))
    assert distributed.gathered(keys)[:, 0].tolist() == [0, 0, 1, 1]
    assert distributed.gathered(keys > 0)[:, 0].tolist() == [False, False, True, True]
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(1, 1))
    net.to(memory_format=torch.channels_last)
    net[0].weight.grad = torch.arange(18.0).view(2, 1, 3, 3) * (1 + 2 * rank)
    net[1].running_mean.fill_(rank)
    distributed.average_gradients(net)
    assert torch.equal(net[0].weight.grad, torch.arange(18.0).view(2, 1, 3, 3) * 2)
    assert net[1].running_mean.tolist() == [0.5, 0.5] and net[2].weight.grad is None


def same_everywhere(method, what, state):
    values = [value.double().flatten() for value in state.values()]
    flat = torch.cat(values) if values else torch.zeros(0, dtype=torch.double)
    both = distributed.gathered(flat.float()[None])
    assert torch.equal(both[0].nan_to_num(), both[1].nan_to_num()), f"{method}: {what} differs between ranks"


if __name__ == "__main__":
    rank_main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
