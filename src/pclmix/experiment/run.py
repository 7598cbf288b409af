"""Running an experiment: orders are placed, whoever runs them (this machine in turn, or Ray) fills their folders."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import tomli_w
from filelock import FileLock, Timeout
from rich.console import Console

from pclmix.console import stderr_console
from pclmix.errors import InputError
from pclmix.experiment.board import Board
from pclmix.experiment.job import run_job
from pclmix.experiment.order import COMMAND, Order, fail
from pclmix.experiment.plan import ExperimentPlan, place_orders, plan_experiment
from pclmix.experiment.spec import VERSION
from pclmix.files import atomic_path, claim_folder
from pclmix.interrupt import Interrupted, stop_on_signal


def run_experiment(
    file: Path, *, resume: bool = False, ray: str | None = None, console: Console | None = None
) -> tuple[Path, list[tuple[str, str]]]:
    """Run what is missing of an experiment; returns the results folder and (job, error) of the jobs that failed.

    `ray`: "local" starts a cluster on this machine, an address joins one; None runs the jobs in turn.

    Raises:
        InputError: the file, its data set or its results folder is not fit.
        Interrupted: Ctrl-C or SIGTERM; what was running can be resumed.
    """
    console = console or stderr_console()
    plan = plan_experiment(file)
    results = claim_folder(plan.results, overwrite=resume, option="--resume")
    lock = FileLock(results / ".lock", timeout=0)
    try:
        with lock:
            place_orders(plan)
            save_rows(plan)
            with Board(results / "jobs", plan.orders, console) as board:
                waiting = [order for order in plan.orders if not board.finished(order)]
                for order in waiting:
                    if order.predictions:
                        _score(order, board)
                waiting = [order for order in waiting if not order.predictions]
                if ray is None:
                    _in_turn(waiting, board)
                else:
                    from pclmix.experiment.on_ray import on_ray

                    on_ray(waiting, board, plan.spec, ray)
            return results, [(order.job, board.error(order)) for order in plan.orders if board.error(order)]
    except Timeout:
        raise InputError(f"{results}: another experiment is at work there, expected it to end first") from None


def _score(order: Order, board: Board) -> None:
    """Another tool's predictions are scored here and at once."""
    board.start(order)
    try:
        run_job(board.folder(order))
    except InputError as error:
        fail(board.folder(order), str(error))
    board.end(order)


def _in_turn(orders: Iterable[Order], board: Board) -> None:
    """Jobs one by one, each a process of its own with the whole machine: one that dies takes no other with it."""
    with stop_on_signal() as stop:
        for order in orders:
            folder = board.folder(order)
            board.start(order)
            with (folder / "job.log").open("ab") as log:
                process = subprocess.Popen([*COMMAND, str(folder)], stdin=subprocess.PIPE, stdout=log, stderr=log)
                while True:
                    try:
                        code = process.wait(0.5)
                        break
                    except subprocess.TimeoutExpired:
                        if stop.requested:
                            process.terminate()
                            code = process.wait()
                            break
            if code not in (0, 130) and not board.error(order):
                fail(folder, f"ended with exit code {code}, see {folder / 'job.log'}")
            board.end(order)
            if stop.requested or code == 130:
                raise Interrupted(f"{board.jobs.parent}: stopped and saved; --resume continues")


def save_rows(plan: ExperimentPlan) -> None:
    """Write `experiment.toml` of the results folder: what the report reads, jobs by row."""
    spec = plan.spec
    table = {
        "version": VERSION,
        "title": spec.title,
        "dataset": spec.dataset,
        "preset": spec.preset,
        "reference": spec.base,
        "upper": spec.best,
        "seeds": list(spec.seeds),
        **({"minutes": spec.minutes} if spec.minutes else {"steps": plan.orders[0].steps or 0}),
        "folds": [{"name": f.name, "train": list(f.train), "test": list(f.test)} for f in plan.folds],
        "rows": [{**row._asdict(), "jobs": list(row.jobs)} for row in plan.rows],
    }
    with atomic_path(plan.results / "experiment.toml") as temporary:
        temporary.write_text(tomli_w.dumps(table), encoding="utf-8")
