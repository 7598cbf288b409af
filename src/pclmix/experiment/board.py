"""What runs, what is done, how long it will take: one live table, or plain lines where stderr is no terminal."""

import csv
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pclmix.experiment.order import FAILED_NAME, RESULT_NAME, Order

SHOWN = 20
"""Most waiting or finished jobs shown, so that the table fits a screen."""


class Board:
    """The states of all jobs of an experiment, read from their folders."""

    def __init__(self, jobs: Path, orders: list[Order], console: Console) -> None:
        self.jobs, self.orders, self.console = jobs, orders, console
        self.running: dict[str, float] = {}
        """Job -> when it was started here."""
        self.spent: list[tuple[int, float]] = []
        """(steps, seconds) of what was finished here."""
        self.live = Live(console=console, get_renderable=self.table, refresh_per_second=1, transient=True)

    def __enter__(self) -> Self:
        done = sum(self.finished(order) for order in self.orders)
        self.console.print(f"{len(self.orders)} jobs, {done} of them finished before", highlight=False)
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def folder(self, order: Order) -> Path:
        """Where a job lies."""
        return self.jobs / order.job

    def finished(self, order: Order) -> bool:
        """Whether a job has left its result."""
        return (self.folder(order) / RESULT_NAME).exists()

    def error(self, order: Order) -> str:
        """Why a job failed the last time, nothing if it did not."""
        path = self.folder(order) / FAILED_NAME
        return str(_json(path).get("error", "?")) if path.exists() and not self.finished(order) else ""

    def start(self, order: Order) -> None:
        """A job begins."""
        self.running[order.job] = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{order.job}: begun", highlight=False)

    def end(self, order: Order) -> None:
        """A job ended, well or not."""
        seconds = time.monotonic() - self.running.pop(order.job)
        if self.finished(order):
            self.spent.append((order.steps or 0, seconds))
            text = f"done in {_clock(seconds)}, mean Dice {self._dice(order)}"
        else:
            text = self.error(order) or "stopped"
        waiting = sum(not self.finished(other) and other.job not in self.running for other in self.orders)
        self.console.print(f"{order.job}: {text}; {waiting} to go{self._left()}", highlight=False)

    def table(self) -> Table:
        """The live table."""
        done = [order for order in self.orders if self.finished(order)]
        table = Table(
            "job", "state", "steps", "time", "mean Dice", title=f"{len(done)} of {len(self.orders)} jobs done"
        )
        for order in done[-SHOWN:]:
            table.add_row(order.job, "done", str(order.steps or ""), "", self._dice(order))
        for order in self.orders:
            if order.job in self.running:
                seconds = time.monotonic() - self.running[order.job]
                step = _last_step(self.folder(order) / "run" / "log.csv")
                table.add_row(order.job, "running", f"{step}/{order.steps or '?'}", _clock(seconds), "")
        rest = [order for order in self.orders if not self.finished(order) and order.job not in self.running]
        for order in rest[:SHOWN]:
            table.add_row(order.job, self.error(order)[:60] or "waiting", "", "", "")
        table.caption = f"{max(0, len(rest) - SHOWN)} more waiting{self._left()}"
        return table

    def _left(self) -> str:
        """Estimate from the jobs finished here, by their steps."""
        if not self.spent:
            return ""
        seconds, steps = sum(s for _, s in self.spent), sum(n for n, _ in self.spent)
        rest = [order for order in self.orders if not self.finished(order) and not self.error(order)]
        each = seconds / len(self.spent)
        rate = seconds / steps if steps else 0.0
        left = sum((order.steps or 0) * rate or each for order in rest)
        return f", about {_clock(left / max(1, len(self.running)))} left" if rest else ""

    def _dice(self, order: Order) -> str:
        scores = _json(self.folder(order) / RESULT_NAME).get("scores", {})
        return f"{scores['default']['mean']['dice']:.4f}" if scores else "?"


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _last_step(path: Path) -> int:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        return int(rows[-1]["step"]) if rows else 0
    except (OSError, ValueError, TypeError):
        return 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
