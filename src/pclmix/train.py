"""Training: one loop for every method. losses -> backward -> step -> averaged weights; validation now and then.

Every random draw of step t comes from generators seeded by (seed, t), so the step number alone restores them.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Collection, Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

import pclmix
from pclmix import distributed
from pclmix.checkpoint import load_checkpoint, save_checkpoint
from pclmix.config import Plan, Settings, load_tree, make_settings, save_tree
from pclmix.console import stderr_console
from pclmix.data.batches import Batch, prefetch
from pclmix.data.cache import CachedCase, build_cache
from pclmix.distributed import agreed, lead, leave
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.interrupt import Interrupted, stop_on_signal
from pclmix.logbook import Logbook, mean_of
from pclmix.model_file import MODEL_NAME, save_model
from pclmix.pictures import save_curves, save_panels
from pclmix.session import Session, open_session, precision
from pclmix.task import CHECKPOINT_NAME, RunRecord, Task, announce, announce_kinds, begin, other_data, prepare
from pclmix.validation import Validation, Validator

LOG_EVERY = 10
CHECKPOINT_SECONDS = 60.0
WARM_UP_STEPS = 8
"""The first steps allocate, and find batches that were made in advance."""
TIMED_SECONDS, TIMED_STEPS = 3.0, (4, 40)
"""About how long the step is timed after that, and the least and most steps."""


@dataclass(frozen=True)
class TrainResult:
    """Where the run lies and how its result scored; `validation` is None where there was nothing to validate on."""

    run: Path
    steps: int
    seconds: float
    plan: Plan
    validation: Validation | None
    rank: int = 0
    """Which of the run's processes this is; the first alone has written and spoken."""


def train(
    dataset_folder: Path,
    run: Path,
    *,
    settings: Settings | None = None,
    method: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    val_cases: Path | Collection[str] | None = None,
    train_cases: Collection[str] | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
    nodes: int = 1,
    console: Console | None = None,
) -> TrainResult:
    """Learn a segmentation model from the scribbles of a dataset folder and leave it in the folder `run`.

    Without settings, method and seed: preset cpu, pclmix, 0. `minutes` covers training and validation, not
    preprocessing: a short warm-up measures the step, then the number of steps is fixed, saved and printed.
    `val_cases` names patients or cases that are validated on and never trained on (a file of them, or their names);
    without it the data set's own list counts. `train_cases` trains on those it names alone. A `resume`
    takes everything from the run folder; what is given beside it must agree with that.

    `devices` on each of `nodes` machines share every batch (`distributed.py`). On one machine this starts the program
    again, once a further device, so it must be called by a program whose arguments lead here; each process returns.
    A resume may have other numbers: the batches stay the same, the random choices within a step do not.

    Raises:
        InputError: the data set, the settings or the run folder is not fit to train with.
        Interrupted: Ctrl-C or SIGTERM, after the state was saved.
        SystemExit: on ranks other than 0, when rank 0 raised one of the others.
    """
    _require_length(steps, minutes)
    run = Path(run)
    recorded = run / "settings.toml"
    used = load_tree(Settings, recorded) if resume and recorded.exists() else settings or make_settings("cpu")
    fabric = distributed.open_fabric(precision(used), devices, nodes)
    console = (console or stderr_console()) if distributed.rank() == 0 else Console(quiet=True)
    task = distributed.lead(
        prepare, dataset_folder, run, settings, method, steps, val_cases, train_cases, seed, resume, overwrite, console
    )
    return _run(fabric, task, minutes, console)


def _require_length(steps: int | None, minutes: float | None) -> None:
    """Raise `InputError` for numbers that are no length of a training."""
    if steps is not None and steps < 1:
        raise InputError(f"--steps {steps}: expected at least 1")
    if minutes is not None and not 0 < minutes * 60 < math.inf:
        raise InputError(f"--minutes {minutes:g}: expected a time above 0, and a finite one")


def _run(fabric: Fabric, task: Task, minutes: float | None, console: Console) -> TrainResult:
    """Preprocess, measure where `minutes` are given, say what will be done, and do it."""
    chosen, dataset, run, settings, plan = task.chosen, task.dataset, task.run, task.settings, task.plan
    cached = distributed.lead_then_follow(build_cache, dataset, task.trained, plan, console, dense=chosen.needs_dense)
    unlabelled = distributed.lead_then_follow(build_cache, dataset, task.unlabelled, plan, console)
    cached_validation = distributed.lead_then_follow(build_cache, dataset, task.validated, plan, console)
    batches = settings.train.statistics_batches
    learnt_from = [*task.trained, *task.unlabelled]
    validator = Validator(dataset, task.validated, cached_validation, learnt_from, cached, plan, fabric.device, batches)
    record, steps = task.record, task.steps
    if record is None:
        if minutes is not None:
            probe = distributed.together(
                open_session, fabric, chosen, cached, plan, settings, task.seed, 10_000, unlabelled
            )
            steps = _steps_within(minutes, probe, validator)
        record = RunRecord(
            dataset=str(dataset.root),
            method=chosen.name,
            seed=task.seed,
            steps=settings.train.steps if steps is None else steps,
            val_cases=tuple(sorted(case.id for case in task.validated)),
            train_cases=tuple(case.id for case in task.trained),
            unlabelled_cases=tuple(case.id for case in task.unlabelled),
            data_key=_data_key([*cached, *unlabelled]),
            version=pclmix.__version__,
        )
    elif record.data_key != _data_key([*cached, *unlabelled]):
        distributed.leave(other_data(run, record, dataset, "other files"))
    announce(task, record, console)
    begun = task.record is not None and (run / CHECKPOINT_NAME).exists()
    start = plan.without_weights() if begun else plan  # a checkpoint holds all weights
    session = distributed.together(
        open_session, fabric, chosen, cached, start, settings, task.seed, record.steps, unlabelled
    )
    announce_kinds(session.source, console)
    if task.prints is not None:
        distributed.lead(begin, run, task.prints, plan, settings, record)
    seconds = 0.0
    if begun:
        session.step, seconds = distributed.together(load_checkpoint, run / CHECKPOINT_NAME, session)
        console.print(f"resuming at step {session.step}", highlight=False)
    if task.record is not None and minutes is not None:
        console.print(f"--minutes does nothing here: T = {record.steps} was fixed when the run began", highlight=False)
    return _loop(session, validator, run, record.steps, seconds, console)


def _loop(
    session: Session, validator: Validator, run: Path, total: int, seconds: float, console: Console
) -> TrainResult:
    """The loop. Checkpoints are written by the clock, which touches no random state and so changes no result.

    Every rank runs it; what is `lead` is done by the first alone, who has the logs.
    """
    settings, began, saved = session.settings.train, time.monotonic() - seconds, time.monotonic()
    pause = session.method.pause_at(total)
    due = {round(total * (i + 1) / settings.validations) for i in range(settings.validations - 1)} - {total}
    recent: list[dict[str, Tensor]] = []
    drawn: list[dict[str, float]] = []
    opened = distributed.together(_open_log, run, session.step, total, console)
    with stop_on_signal() as stop, opened as log:
        for step, batch in _prefetched(session, total):
            if step == pause:
                console.print(f"step {step}/{total}: looking back at the training cases", highlight=False)
                session.method.look_back(validator.learnt(session))
            losses, rate = session.advance(batch, step / total)
            recent.append({"total": losses.total.detach(), **losses.terms})
            drawn.append(session.source.kinds_drawn(batch))
            if session.step % LOG_EVERY == 0 or session.step == total:
                kinds = distributed.averaged(mean_of(drawn))
                lead(Logbook.losses, log, session.step, _figures(recent, run, session), rate, kinds)
                recent.clear()
                drawn.clear()
            at_validation = session.step in due
            if at_validation:
                if validator.cases:
                    lead(Logbook.validation, log, session.step, validator.during(session).figures())
                lead(_picture, run, session, batch, step / total)
            late = time.monotonic() - saved > CHECKPOINT_SECONDS
            stopping, late = agreed(session.step, stop.requested, late)
            if at_validation or stopping or late:
                lead(save_checkpoint, run / CHECKPOINT_NAME, session, time.monotonic() - began)
                saved = time.monotonic()
            if stopping:
                leave(Interrupted(f"{run}: stopped and saved at step {session.step} of {total}; --resume continues"))
        lead(save_checkpoint, run / CHECKPOINT_NAME, session, time.monotonic() - began)
        net, plan, validation = validator.at_end(session)
        lead(_write_result, session, validator, net, plan, validation, run, log)
    seconds = time.monotonic() - began
    return TrainResult(run, total, seconds, plan, validation if validation.figures() else None, distributed.rank())


def _open_log(run: Path, start: int, steps: int, console: Console) -> AbstractContextManager[Logbook]:
    """The log of rank 0; the others have none, and never touch it."""
    if distributed.rank():
        return nullcontext(cast(Logbook, None))
    return Logbook(run, start=start, steps=steps, console=console)


def _write_result(
    session: Session,
    validator: Validator,
    net: nn.Module,
    plan: Plan,
    validation: Validation,
    run: Path,
    log: Logbook,
) -> None:
    """The model, the plan with its post-processing, the last picture, curves and scores."""
    total = session.step
    save_model(run / "model_last.safetensors", validator.last_weights(session), plan)
    save_tree(plan, run / "plan.toml")
    save_model(run / MODEL_NAME, net, plan)
    _picture(run, session, session.source.batch(total - 1), 1.0)
    if validation.figures():
        log.validation(total, validation.figures())
    save_curves(run / "curves.png", {session.method.name: run})
    with atomic_path(run / "validation.json") as temporary:
        temporary.write_text(json.dumps(validation.to_json(), indent=1), encoding="utf-8")


def _steps_within(minutes: float, session: Session, validator: Validator) -> int:
    """The number of steps that fits into `minutes` beside the validations, by a warm-up on a throw-away session.

    All ranks take part, and the first one's clock counts.
    """
    seconds = seconds_a_step(session)
    total = session.settings.train.steps
    pause = session.method.pause_at(total)
    validations = session.settings.train.validations
    left = minutes * 60 - validator.expected_seconds(session, validations, looks_back=pause is not None)
    left -= session.method.seconds_besides(validator.begun(session))
    if pause is not None:
        session.method.rehearse()
        seconds += (1 - pause / total) * (seconds_a_step(session) - seconds)
    steps = distributed.lead(lambda: int(left / seconds))
    if steps < 1:
        leave(InputError(f"--minutes {minutes:g}: too short for one step and the validations, expected more"))
    return steps


def _prefetched(session: Session, stop: int) -> Generator[tuple[int, Batch]]:
    """The batches from the session's step on. One thread makes them beside a network on the CPU, whose cores it shares;
    beside a GPU, which would wait for it, two (more waited for the interpreter's lock: docs/performance.md)."""
    return prefetch(session.source, session.step, stop, 1 if session.fabric.device.type == "cpu" else 2)


def seconds_a_step(session: Session) -> float:
    """Clock time of a step as the loop has it, the thread that makes the batches at work beside it. Moves the session.

    On few cores that thread takes time from the steps, and it can be the slower of the two, so steps alone would
    promise too much.
    """
    with closing(_prefetched(session, sys.maxsize)) as batches:

        def advance(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                losses, _ = session.advance(next(batches)[1], 0.5)
                float(losses.total.detach())
            return (time.perf_counter() - start) / steps

        advance(WARM_UP_STEPS - 1)
        wanted, (least, most) = TIMED_SECONDS / advance(1), TIMED_STEPS
        return advance(distributed.lead(lambda: min(max(round(wanted), least), most)))


def _figures(recent: list[dict[str, Tensor]], run: Path, session: Session) -> dict[str, float]:
    """Mean losses of the last steps, over ranks. Raises `InputError` when training has gone astray."""
    figures = distributed.averaged(mean_of([{name: float(value) for name, value in row.items()} for row in recent]))
    if not math.isfinite(figures["total"]):
        rate = session.settings.optimizer.rate
        leave(
            InputError(
                f"{run}: the loss is {figures['total']} at step {session.step}, expected a number; "
                f"try a smaller rate: --set optimizer.rate={rate / 3:.1g}"
            )
        )
    return figures


def _picture(run: Path, session: Session, batch: Batch, progress: float) -> None:
    arrays = {name: panel.numpy() for name, panel in session.panels(batch, progress).items()}
    save_panels(run / "pictures" / f"step_{session.step:06d}.png", arrays, len(session.method.plan.classes))


def _data_key(cached: list[CachedCase]) -> str:
    return hashlib.sha256("\n".join(case.key for case in cached).encode()).hexdigest()[:16]


class _Callable(ModuleType):
    """This module, which is also what users call: `pclmix.train(dataset, out)` is `api.train`.

    Importing a module puts it into its package under its name, in place of any function of that name.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from pclmix import api  # this module's user

        return api.train(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
