"""Training: one loop for every method. losses -> backward -> step -> averaged weights; validation now and then.

Every random draw of step t comes from generators seeded by (seed, t), so the step number alone restores them.
"""

import copy
import hashlib
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn

import pclmix
from pclmix.averaging import AveragedWeights, with_fresh_statistics
from pclmix.checkpoint import load_checkpoint, save_checkpoint
from pclmix.compare import get_method
from pclmix.compare.base import Method
from pclmix.config import OptimizerSettings, Plan, Settings, Tree, load_tree, save_tree
from pclmix.data.batches import Batch, BatchSource, prefetch
from pclmix.data.cache import CachedCase, build_cache
from pclmix.data.check import require_trainable
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import Case, Dataset, patients_from_file, read_dataset, split
from pclmix.data.plan import make_plan
from pclmix.errors import InputError
from pclmix.files import atomic_path, claim_folder
from pclmix.logbook import Logbook, mean_of, stderr_console
from pclmix.model_file import save_model
from pclmix.pictures import save_panels
from pclmix.postprocess import choose_components
from pclmix.validation import Validation, stroke_predictions, validate

LOG_EVERY = 10
CHECKPOINT_SECONDS = 60.0
WARM_UP_STEPS = 8


class RunRecord(Tree):
    """What a run was asked to do; saved as `run.toml`, read by a resume."""

    dataset: str
    method: str
    seed: int
    steps: int
    val_cases: tuple[str, ...]
    train_cases: tuple[str, ...]
    data_key: str
    """Hash of the preprocessed training data, so that a resume on other data is refused."""
    version: str


@dataclass(frozen=True)
class TrainResult:
    """Where the run lies and how its result scored. `validation` is None where there was nothing to validate on."""

    run: Path
    steps: int
    seconds: float
    plan: Plan
    validation: Validation | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the state has been saved."""


def train(
    dataset_folder: Path,
    run: Path,
    *,
    settings: Settings,
    method: str = "pclmix",
    steps: int | None = None,
    minutes: float | None = None,
    val_cases: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> TrainResult:
    """Learn a segmentation model from the scribbles of a dataset folder and leave it in `run`.

    `minutes` covers training and validation, not preprocessing: a short warm-up measures the step, then the number of
    steps is fixed, saved and printed. With `resume` the run folder's own settings, seed and steps count.

    Raises:
        InputError: the data set, the settings or the run folder is not fit to train with.
        Interrupted: Ctrl-C or SIGTERM, after the state was saved.
    """
    console = console or stderr_console()
    dataset = read_dataset(dataset_folder)
    for line in require_trainable(dataset):
        console.print(f"warning: {line}", highlight=False)
    run = claim_folder(run, overwrite=overwrite, resume=resume)
    record_path, plan_path, settings_path = run / "run.toml", run / "plan.toml", run / "settings.toml"
    resumed = resume and record_path.exists()
    if resumed:
        record, settings = load_tree(RunRecord, record_path), load_tree(Settings, settings_path)
        method, seed, val_ids = record.method, record.seed, set(record.val_cases)
    else:
        val_ids = patients_from_file(val_cases, dataset) if val_cases else set(dataset.val_cases)
    trained, validated = split(dataset, val_ids)
    if not trained:
        raise InputError(f"{dataset.root}: no case with a scribble is left to train on, expected at least one")
    if not resumed:
        prints = fingerprint(dataset, trained)
        save_tree(make_plan(prints, dataset, settings), plan_path)
        with atomic_path(run / "fingerprint.json") as temporary:
            temporary.write_text(prints.to_json(), encoding="utf-8")
        save_tree(settings, settings_path)
    plan = load_tree(Plan, plan_path)
    cached = build_cache(dataset, trained, plan, console=console)
    cached_validation = build_cache(dataset, validated, plan, console=console)
    data_key = _data_key(cached)

    fabric = Fabric(accelerator="auto", devices=1, precision=_precision(settings))  # type: ignore[arg-type]
    fabric.launch()
    chosen = get_method(method)

    def open_session(total: int) -> Session:
        return _open_session(fabric, chosen, cached, plan, settings, seed, total)

    if resumed:
        if record.data_key != data_key:
            raise InputError(f"{run}: was trained on other data than {dataset.root} holds now, expected the same files")
    else:
        check = _Validator(dataset, validated, cached_validation, trained, cached, plan, settings, fabric)
        total = steps or (_steps_within(minutes, open_session, check, settings) if minutes else settings.train.steps)
        record = RunRecord(
            dataset=str(dataset.root),
            method=method,
            seed=seed,
            steps=total,
            val_cases=tuple(sorted(case.id for case in validated)),
            train_cases=tuple(case.id for case in trained),
            data_key=data_key,
            version=pclmix.__version__,
        )
        save_tree(record, record_path)
    console.print(
        f"{method}, preset {settings.preset}: {len(trained)} cases to train on, {len(validated)} to validate on; "
        f"{plan.crop[0]} x {plan.crop[1]} pixels of {plan.spacing[0]:.2f} x {plan.spacing[1]:.2f} mm, "
        f"batch {plan.batch}, T = {record.steps} steps, seed {seed}",
        highlight=False,
    )
    session = open_session(record.steps)
    checkpoint = run / "checkpoint.safetensors"
    if resumed and checkpoint.exists():
        session.step, session.seconds = load_checkpoint(
            checkpoint,
            net=session.module,
            averaged=session.averaged,
            optimizer=session.optimizer,
            method=session.method,
        )
        console.print(f"resuming at step {session.step}", highlight=False)
    validator = _Validator(dataset, validated, cached_validation, trained, cached, plan, settings, fabric)
    return _loop(session, record, run, plan, settings, validator, console)


def _loop(
    session: Session,
    record: RunRecord,
    run: Path,
    plan: Plan,
    settings: Settings,
    validator: "_Validator",
    console: Console,
) -> TrainResult:
    """The loop. Checkpoints are written by the clock, which touches no random state and so changes no result."""
    fabric, method, optimizer, total = session.fabric, session.method, session.optimizer, record.steps
    due = {round(total * (i + 1) / settings.train.validations) for i in range(settings.train.validations - 1)}
    began = time.monotonic() - session.seconds
    saved = time.monotonic()
    recent: list[dict[str, torch.Tensor]] = []

    def save() -> None:
        save_checkpoint(
            run / "checkpoint.safetensors",
            step=session.step,
            seconds=time.monotonic() - began,
            net=session.module,
            averaged=session.averaged,
            optimizer=optimizer,
            method=method,
        )

    with _stop_on_signal() as stop, Logbook(run, start=session.step, steps=total, console=console) as log:
        for step, batch in prefetch(session.source, session.step, total):
            progress = step / total
            rate = set_rate(optimizer, settings.optimizer, progress)
            torch.manual_seed(step_seed(record.seed, step, "network"))
            generator = torch.Generator().manual_seed(step_seed(record.seed, step, "method"))
            losses = method.losses(_placed(batch, fabric), progress, generator)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(losses.total)
            if settings.optimizer.clip_norm:
                fabric.clip_gradients(session.net, optimizer, max_norm=settings.optimizer.clip_norm)
            optimizer.step()
            method.after_step()
            session.averaged.update(_kept(method, session), step)
            session.step = step + 1
            recent.append({"total": losses.total.detach(), **losses.terms})
            if session.step % LOG_EVERY == 0 or session.step == total:
                figures = mean_of([{name: float(value) for name, value in row.items()} for row in recent])
                recent.clear()
                if figures["total"] != figures["total"]:
                    raise InputError(
                        f"{run}: the loss is not a number at step {session.step}, expected it to fall; "
                        f"try a smaller rate: --set optimizer.rate={settings.optimizer.rate / 3:.1g}"
                    )
                log.losses(session.step, figures, rate)
            if session.step in due:
                score = validator.during(session)
                if score is not None:
                    log.validation(session.step, score.figures())
                _picture(run, session, record, plan, batch, progress)
                save()
                saved = time.monotonic()
            if stop.requested:
                save()
                raise Interrupted(f"{run}: stopped and saved at step {session.step} of {total}; --resume continues")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
                saved = time.monotonic()
        save()
        result, plan, final = validator.at_end(session)
        save_model(run / "model.safetensors", result, plan)
        save_model(run / "model_last.safetensors", validator.last_weights(session), plan)
        save_tree(plan, run / "plan.toml")
        if final is not None:
            log.validation(session.step, final.figures())
            with atomic_path(run / "validation.json") as temporary:
                temporary.write_text(json.dumps(final.to_json(), indent=1), encoding="utf-8")
        _picture(run, session, record, plan, session.source.batch(total - 1), 1 - 1 / total)
    return TrainResult(run, total, time.monotonic() - began, plan, final)


class _Stop:
    requested = False


@contextmanager
def _stop_on_signal() -> Iterator[_Stop]:
    """Turn Ctrl-C and SIGTERM into a flag that the loop reads between two steps; a second Ctrl-C stops at once."""
    stop = _Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us there handles signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _picture(run: Path, session: Session, record: RunRecord, plan: Plan, batch: Batch, progress: float) -> None:
    generator = torch.Generator().manual_seed(step_seed(record.seed, session.step, "picture"))
    panels = session.method.picture(_placed(batch, session.fabric), progress, generator)
    arrays = {name: panel[:4].float().cpu().numpy() for name, panel in panels.items()}
    save_panels(run / "pictures" / f"step_{session.step:06d}.png", arrays, plan.class_names)


def _data_key(cached: list[CachedCase]) -> str:
    names = [Path(str(case.image.filename)).name + Path(str(case.label.filename)).name for case in cached]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
