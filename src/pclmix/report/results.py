"""What an experiment left in its results folder: its rows, the runs behind them, and what did not finish.

results/experiment.toml lists every row of every table with its jobs; results/jobs/JOB/job.json is one finished run.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pclmix.errors import InputError
from pclmix.evaluate import Score
from pclmix.experiment.order import FAILED_NAME, RESULT_NAME, RESULT_VERSION

DEFAULT, PLAIN = "default", "plain"

Cases = dict[str, dict[int, Score]]


@dataclass(frozen=True)
class Row:
    """A line of the table of `part`: the mean over the runs `jobs`; `parameter` and `value` where one is varied."""

    part: str
    name: str
    parameter: str
    value: Any
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A finished run. `scores`: "default" or "plain" -> case -> label -> score; `annotated`: fraction of the pixels of
    the training slices; `seconds`: of training; `predictions`: folder of CASE.nii.gz."""

    name: str
    method: str
    external: bool
    fold: str
    seed: int
    classes: dict[str, int]
    train_patients: tuple[str, ...]
    test_patients: tuple[str, ...]
    patients: dict[str, str]
    train_slices: int | None
    annotated: float | None
    steps: int | None
    seconds: float | None
    scores: dict[str, Cases]
    predictions: Path
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A results folder. `failures`: job -> why it did not finish, for all jobs of the rows that are not in `jobs`."""

    root: Path
    experiment: dict[str, Any]
    rows: tuple[Row, ...]
    jobs: dict[str, Job]
    failures: dict[str, str]
    classes: dict[int, str]

    @property
    def reference(self) -> str:
        """Name of the row that all others are tested against."""
        return str(self.experiment.get("reference", "pclmix"))

    @property
    def upper(self) -> str:
        """Name of the row that learnt from dense labels, "" if there is none."""
        return str(self.experiment.get("upper", ""))

    def part(self, *names: str) -> list[Row]:
        """Rows of the tables of these parts, in the order of the experiment."""
        return [row for row in self.rows if row.part in names]

    def comparison(self) -> list[Row]:
        """Rows of the comparison, external ones among them, the upper bound last."""
        return sorted(self.part("comparison", "external"), key=self.is_upper)

    def reference_row(self) -> Row | None:
        """The row that all others are tested against, if there is one."""
        return next((row for row in self.comparison() if row.name == self.reference), None)

    def is_upper(self, row: Row) -> bool:
        """Whether the row is the upper bound of the comparison."""
        return row.part == "comparison" and row.name == self.upper

    def finished(self, row: Row) -> list[Job]:
        """The finished jobs of a row, by seed and fold."""
        jobs = [self.jobs[name] for name in row.jobs if name in self.jobs]
        return sorted(jobs, key=lambda job: (job.seed, job.fold, job.name))

    def complete(self, row: Row) -> bool:
        """Whether all jobs of a row are finished."""
        return bool(row.jobs) and all(name in self.jobs for name in row.jobs)

    def is_default(self, row: Row) -> bool:
        """Whether a row of another part is runs of the reference itself: nothing removed, nothing varied."""
        reference = self.reference_row()
        return reference is not None and bool(row.jobs) and set(row.jobs) <= set(reference.jobs)


def read_results(root: Path) -> Results:
    """Read a results folder. Raises `InputError` where it is none, holds no finished job, or is of another version."""
    root = Path(root)
    experiment = _read_toml(root / "experiment.toml")
    rows = tuple(_row(entry, root / "experiment.toml") for entry in _tables(experiment, root / "experiment.toml"))
    names = list(dict.fromkeys(name for row in rows for name in row.jobs))
    jobs, failures = {}, {}
    for name in names:
        folder = root / "jobs" / name
        if (folder / RESULT_NAME).exists():
            jobs[name] = _read_job(folder / RESULT_NAME, name)
        else:
            failures[name] = _failure(folder / FAILED_NAME)
    if not jobs:
        raise InputError(f"{root / 'jobs'}: no finished job, expected a job.json of one of {len(names)} jobs at least")
    first = next(iter(jobs.values()))
    for job in jobs.values():
        if job.classes != first.classes:
            found = root / "jobs" / job.name / RESULT_NAME
            raise InputError(f"{found}: classes {job.classes}, expected {first.classes} as in {first.name}")
    classes = {value: name for name, value in sorted(first.classes.items(), key=lambda item: item[1]) if value > 0}
    return Results(root, experiment, rows, jobs, failures, classes)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected the results folder of an experiment") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not readable TOML ({error})") from None


def _tables(experiment: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    rows = experiment.get("rows")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: no rows, expected a table [[rows]] for each row of the report")
    return rows


def _row(entry: dict[str, Any], path: Path) -> Row:
    jobs = entry.get("jobs")
    if "part" not in entry or "row" not in entry or not isinstance(jobs, list):
        raise InputError(f"{path}: a row with {sorted(entry)}, expected part, row and jobs")
    parameter = str(entry.get("parameter", ""))
    return Row(str(entry["part"]), str(entry["row"]), parameter, entry.get("value"), tuple(str(job) for job in jobs))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: found a {type(tree).__name__}, expected a JSON object")
    return tree


def _read_job(path: Path, name: str) -> Job:
    tree = _read_json(path)
    if tree.get("version") != RESULT_VERSION:
        raise InputError(
            f"{path}: version {tree.get('version')!r}, expected {RESULT_VERSION} (made by another pclmix?)"
        )
    try:
        return Job(
            name=name,
            method=str(tree.get("method") or tree["row"]),
            external=tree["part"] == "external",
            fold=str(tree.get("fold") or ""),
            seed=int(tree.get("seed") or 0),
            classes={str(key): int(value) for key, value in tree["classes"].items()},
            train_patients=tuple(map(str, tree.get("train_patients") or ())),
            test_patients=tuple(map(str, tree.get("test_patients") or ())),
            patients={str(case): str(patient) for case, patient in (tree.get("patients") or {}).items()},
            train_slices=tree.get("train_slices"),
            annotated=tree.get("annotated"),
            steps=tree.get("steps"),
            seconds=tree.get("seconds"),
            scores={view: _cases(scores) for view, scores in tree["scores"].items() if view in (DEFAULT, PLAIN)},
            predictions=path.parent / str(tree.get("predictions") or "predictions"),
            provenance=dict(tree.get("provenance") or {}),
        )
    except KeyError as error:
        raise InputError(f"{path}: no {error.args[0]!r} in it, expected a finished job") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not the record of a job ({error})") from None


def _cases(tree: Mapping[str, Any]) -> Cases:
    """The cases of `evaluate.to_json`; an HD95 of null is infinite."""
    return {
        case: {
            int(label): Score(float(score["dice"]), math.inf if score["hd95"] is None else float(score["hd95"]))
            for label, score in scores.items()
        }
        for case, scores in tree["cases"].items()
    }


def _failure(path: Path) -> str:
    if not path.exists():
        return "not run"
    return " ".join(str(_read_json(path).get("error", "failed")).split()) or "failed"
