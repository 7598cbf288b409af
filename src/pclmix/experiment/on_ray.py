"""Jobs on a Ray cluster, each with the CPUs and GPUs it asks for; results are gathered where the experiment was begun.

A worker that sees the results folder (one machine, a shared disk) works in it; another works in its own cache and
sends the finished job back, after which nothing of it stays there. A killed worker's job is begun again by Ray, and
goes on from its last checkpoint where that can be reached. The data set must lie at the same path on every machine.
"""

import io
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from pclmix.config import load_tree, save_tree
from pclmix.errors import InputError
from pclmix.experiment.board import Board
from pclmix.experiment.order import COMMAND, FAILED_NAME, ORDER_NAME, RESULT_NAME, Order, fail
from pclmix.experiment.spec import ExperimentSpec
from pclmix.interrupt import Interrupted, stop_on_signal

RETRIES = 5
"""How often Ray begins a job again whose worker died."""


def on_ray(orders: list[Order], board: Board, spec: ExperimentSpec, address: str) -> None:
    """Run jobs on Ray and gather their folders. Raises `InputError` where Ray is missing or not to be reached."""
    try:
        import ray
    except ImportError:
        raise InputError("--ray: Ray is not installed, expected: pip install 'pclmix[ray]'") from None
    _require_answer(address)
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--ray {address}: cannot be reached ({str(error)[:120]}), expected local or HOST:PORT"
        ) from None
    try:
        with stop_on_signal() as stop:
            work = ray.remote(work_on).options(
                num_cpus=spec.cpus or 1, num_gpus=spec.gpus, max_retries=RETRIES, retry_exceptions=False
            )
            pending = {work.remote(order.model_dump(mode="json"), str(board.folder(order))): order for order in orders}
            for order in orders:
                board.start(order)
            while pending:
                done, _ = ray.wait(list(pending), num_returns=1, timeout=0.5)
                for reference in done:
                    order = pending.pop(reference)
                    _gather(ray, reference, board.folder(order))
                    board.end(order)
                if stop.requested:
                    raise Interrupted(f"{board.jobs.parent}: stopped; --resume continues")
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise `InputError` where nobody listens at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:  # local, auto
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise InputError(f"--ray {address}: cannot be reached ({error}), expected local or HOST:PORT") from None


def _gather(ray: Any, reference: Any, folder: Path) -> None:
    try:
        archive = ray.get(reference)
    except Exception as error:
        fail(folder, f"lost on the cluster ({type(error).__name__}: {str(error).splitlines()[0][:150]})")
        return
    if archive:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            # The result comes last and by a rename: where it exists, all of the job does.
            tar.extractall(folder, filter="data", members=[m for m in tar if m.name != RESULT_NAME])
            result = next((m for m in tar.getmembers() if m.name == RESULT_NAME), None)
            if result is not None:
                result.name = f".writing-{RESULT_NAME}"
                tar.extract(result, folder, filter="data")
                (folder / result.name).replace(folder / RESULT_NAME)


def work_on(values: dict[str, Any], folder: str) -> bytes:
    """On a worker: do a job; returns nothing where the head sees the folder, else its files as a tar archive."""
    order = Order.model_validate(values)
    place = Path(folder)
    shared = (place / ORDER_NAME).exists()
    if not shared:
        place = _place_in_cache(order, place)
    with (place / "job.log").open("ab") as log:
        process = subprocess.Popen([*COMMAND, str(place)], stdin=subprocess.PIPE, stdout=log, stderr=log)
        code = process.wait()
    if code and not (place / FAILED_NAME).exists():
        fail(place, f"ended with exit code {code}, see {place / 'job.log'}")
    if shared:
        return b""
    archive = _archive(place)
    if (place / RESULT_NAME).exists():  # a job that failed goes on from what it left
        shutil.rmtree(place, ignore_errors=True)  # what cannot be removed is no reason to lose the result
    return archive


def _place_in_cache(order: Order, folder: Path) -> Path:
    """Where a worker that does not see `folder` works, the order in it. What an earlier try of the same order left is
    kept, to go on from; what lies there of another order, of an experiment of the same path, is removed."""
    from pclmix.data.cache import cache_folder

    place = cache_folder() / "jobs" / folder.relative_to("/")
    if place.exists() and not _is_of(order, place / ORDER_NAME):
        with FileLock(place / "lock"):  # a job that was stopped may still be saving there
            shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    save_tree(order, place / ORDER_NAME)
    return place


def _is_of(order: Order, path: Path) -> bool:
    """Whether the order in a file asks for the same work; one that cannot be read does not."""
    try:
        return load_tree(Order, path).work() == order.work()
    except InputError:
        return False


def _archive(place: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(place.rglob("*")):
            if (
                path.is_file()
                and path.name not in ("lock", ORDER_NAME)
                and "dataset" not in path.relative_to(place).parts
            ):
                tar.add(path, path.relative_to(place).as_posix())
    return buffer.getvalue()
