"""What a run leaves to read: a progress bar, `log.csv`, `validation.csv` and TensorBoard events."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from pclmix.files import atomic_path, disk_errors


class Table:
    """A CSV file keyed by its first column, the step. Opening it at a step drops the later rows of a killed run."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        self.columns: list[str] = []
        self.last = -1  # step of the last row
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        reader = csv.DictReader(line for line in lines if line.endswith("\n"))  # a kill may have cut the last one
        kept = [row for row in reader if int(row["step"]) <= start]
        self.columns = list(reader.fieldnames or [])
        self.last = int(kept[-1]["step"]) if kept else -1
        if len(kept) + 1 < len(lines):
            self._write(kept)

    def append(self, row: dict[str, float | int]) -> None:
        """Add a row, or replace the last one of the same step (a run resumed at its end writes that again).

        Columns that the file lacks are added to it, empty in its earlier rows. Raises `InputError` on a full disk.
        """
        texts = {name: str(value) if isinstance(value, int) else f"{value:.6g}" for name, value in row.items()}
        new = [name for name in row if name not in self.columns]
        again, self.last = row["step"] == self.last, int(row["step"])
        if new or again:
            earlier = list(csv.DictReader(self.path.read_text(encoding="utf-8").splitlines())) if self.columns else []
            self.columns += new
            self._write([*(earlier[:-1] if again else earlier), texts])
            return
        with disk_errors(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(texts)

    def _write(self, rows: list[dict[str, str]]) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)


class Logbook:
    """Live progress on stderr (a plain line now and then where stderr is no terminal) and the log files of a run."""

    def __init__(self, folder: Path, *, start: int, steps: int, console: Console) -> None:
        self.console = console
        self.steps = steps
        self.table = Table(folder / "log.csv", start)
        self.validations = Table(folder / "validation.csv", start)
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=steps, completed=start, figures="")
        self.last_line = time.monotonic()
        self.last = (time.monotonic(), start)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.events.close()

    def losses(self, step: int, terms: dict[str, float], rate: float, drawn: dict[str, float] | None = None) -> None:
        """Record the losses after `step` finished steps, and the fraction of each kind of slice that was drawn."""
        now = time.monotonic()
        speed = (step - self.last[1]) / max(now - self.last[0], 1e-9)
        self.last = (now, step)
        drawn = drawn or {}
        fractions = {f"drawn_{kind}": value for kind, value in drawn.items()}
        self.table.append({"step": step, **terms, "rate": rate, "steps_per_second": speed, **fractions})
        self._events(step, {"rate": rate, **{f"loss/{name}": value for name, value in terms.items()}})
        self._events(step, {f"drawn/{kind}": value for kind, value in drawn.items()})
        figures = " ".join(f"{name} {value:.3f}" for name, value in terms.items()) + f"  {speed:.2f} steps/s"
        self.bar.update(self.task, completed=step, figures=figures)
        if not self.console.is_terminal and now - self.last_line > 30:
            self.last_line = now
            left = (self.steps - step) / max(speed, 1e-9)
            self.console.print(f"step {step}/{self.steps}  {figures}  {left / 60:.0f} min left", highlight=False)

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """Record the figures of a validation."""
        self.validations.append({"step": step, **figures})
        self._events(step, {f"validation/{name}": value for name, value in figures.items()})
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.console.print(f"validation at step {step}: {text}", highlight=False)

    def _events(self, step: int, values: dict[str, float]) -> None:
        with disk_errors(self.table.path.with_name("tensorboard")):
            for name, value in values.items():
                self.events.add_scalar(name, value, step)


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each entry over rows with the same keys."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
