"""What a training step costs by slice size, batch and classes, and a case by the number of cases; preset cpu.

Each row is a size against the usual one (128 x 128, batch 8, 4 classes; 20 cases), one step or one case each, so a
ratio says how the cost grows. Nothing is a target. Labels of more classes than the phantom has are its structures cut
into stripes.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from rich.console import Console

from benchmarks import material
from benchmarks.models import model_file, plan_of
from benchmarks.step import advance, dense_batch, phantom_session
from benchmarks.timing import Row, seconds
from pclmix.config import make_settings
from pclmix.data.batches import Batch
from pclmix.data.cache import build_cache, cache_folder
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import read_dataset
from pclmix.data.plan import make_plan
from pclmix.infer import PredictOptions, predict_files
from pclmix.labels import IGNORE
from pclmix.session import Session, open_session

SIZES = {"side": (64, 192, 256), "batch": (2, 16, 32), "classes": (2, 8, 16)}
USUAL = {"side": 128, "batch": 8, "classes": 4}
CASES, USUAL_CASES = (5, 80), 20


def bench(runs: int, quick: bool) -> list[Row]:
    """A row a size."""
    rows: list[Row] = []
    usual = {"side": 32, "batch": 2, "classes": 4} if quick else USUAL
    for kind, sizes in SIZES.items():
        rows += _rows(f"step, {kind}", sizes[:1] if quick else sizes, usual[kind], partial(_step, kind, usual), runs)
    few, usual_cases = ((2,), 4) if quick else (CASES, USUAL_CASES)
    for name, make in (("preprocessing", _preprocessing), ("predicting", _predicting)):
        rows += _rows(f"{name} a case, cases", few, usual_cases, make, runs, each=True)
    return rows


def _rows(
    name: str,
    sizes: tuple[int, ...],
    usual: int,
    make: Callable[[int], Callable[[], object]],
    runs: int,
    each: bool = False,
) -> Iterator[Row]:
    """Each size against the usual one, in turns; with `each` the seconds are divided by the size."""
    work = {size: make(size) for size in (usual, *sizes)}
    times: dict[int, list[float]] = {size: [] for size in work}
    for run in range(-1, runs):  # the first one warms up
        for size in sorted(work, reverse=run % 2 == 1):
            took = seconds(work[size]) / (size if each else 1)
            times[size] += [took] if run >= 0 else []
    for size in sizes:
        yield Row(f"{name} {size}", name.split(",")[0], f"{usual}", times[size], times[usual], target=None)


def _step(kind: str, usual: dict[str, int], size: int) -> Callable[[], object]:
    given = usual | {kind: size}
    session = phantom_session("cpu", (f"planner.crop={given['side']}", f"planner.batch={given['batch']}"))
    batch = dense_batch(session)
    session, batch = _with_classes(session, batch, given["classes"])
    return partial(advance, session, batch)


def _with_classes(session: Session, batch: Batch, classes: int) -> tuple[Session, Batch]:
    """The session and batch with as many classes: structures are merged, or cut into stripes with a class each."""
    source = session.source
    plan = source.plan.model_copy(update={"classes": {f"c{value}": value for value in range(classes)}})
    stripe = torch.arange(batch.scribble.shape[2]) * max(1, (classes - 1) // 3) // batch.scribble.shape[2]
    known = batch.scribble != IGNORE
    cut = torch.where(batch.scribble > 0, (batch.scribble - 1 + 3 * stripe) % (classes - 1) + 1, 0)
    possible = batch.possible[:, :1].expand(-1, classes, -1, -1)
    fresh = open_session(session.fabric, type(session.method), source.cases, plan, session.settings, 0, 1000)
    return fresh, replace(batch, scribble=torch.where(known, cut, IGNORE), possible=possible)


def _preprocessing(cases: int) -> Callable[[], object]:
    dataset, settings = read_dataset(material.acdc_like(material.folder(), cases)), make_settings("cpu")

    def work() -> None:
        shutil.rmtree(cache_folder(), ignore_errors=True)
        plan = make_plan(fingerprint(dataset, dataset.cases, settings.planner), dataset, settings)
        build_cache(dataset, dataset.cases, plan, Console(quiet=True))

    return work


def _predicting(cases: int) -> Callable[[], object]:
    images = material.acdc_like(material.folder(), cases) / "imagesTr"
    model = model_file(material.folder(), plan_of("cpu", (128, 128)))
    return lambda: list(predict_files(model, [images], material.folder(), PredictOptions()))
