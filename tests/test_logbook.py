"""The logs: what is written, and that a resume drops what a killed run wrote too much."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pclmix.errors import InputError
from pclmix.logbook import Logbook, Table, mean_of


def console():
    return Console(file=io.StringIO(), width=200)


def test_losses_and_validations_are_written(tmp_path):
    out = console()
    with Logbook(tmp_path, start=0, steps=20, console=out) as log:
        log.losses(10, {"total": 1.5, "supervised": 1.0}, 0.01)
        log.losses(20, {"total": 0.5, "supervised": 0.25}, 0.005)
        log.validation(20, {"dice": 0.8})
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "step,total,supervised,rate,steps_per_second"
    assert [row.split(",")[:4] for row in rows[1:]] == [["10", "1.5", "1", "0.01"], ["20", "0.5", "0.25", "0.005"]]
    assert (tmp_path / "validation.csv").read_text().splitlines() == ["step,dice", "20,0.8"]
    assert out.file.getvalue() == "validation at step 20: dice 0.8\n", "no bar and no colour into a pipe"
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(10, 1.5), (20, 0.5)]
    assert [event.step for event in events.Scalars("validation/dice")] == [20]


def test_the_fractions_of_the_kinds_drawn_have_columns_and_events(tmp_path):
    with Logbook(tmp_path, start=0, steps=10, console=console()) as log:
        log.losses(10, {"total": 1.5}, 0.01, {"scribble": 0.75, "unlabelled": 0.25})
    (row,) = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert (row["drawn_scribble"], row["drawn_unlabelled"]) == ("0.75", "0.25")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("drawn/unlabelled")] == [0.25]


def test_a_resume_drops_the_rows_after_its_checkpoint(tmp_path):
    with Logbook(tmp_path, start=0, steps=40, console=console()) as log:
        for step in (10, 20, 30):
            log.losses(step, {"total": 1.0}, 0.01)
        log.validation(20, {"dice": 0.5})
    with Logbook(tmp_path, start=20, steps=40, console=console()) as log:
        log.losses(30, {"total": 2.0}, 0.01)
    assert [row.split(",")[:2] for row in (tmp_path / "log.csv").read_text().splitlines()[1:]] == [
        ["10", "1"], ["20", "1"], ["30", "2"],
    ]  # fmt: skip
    assert (tmp_path / "validation.csv").read_text().splitlines() == ["step,dice", "20,0.5"]


def test_a_resume_keeps_the_events_of_its_own_step(tmp_path):
    for start, steps in ((0, (10, 20)), (20, (30,))):
        with Logbook(tmp_path, start=start, steps=40, console=console()) as log:
            for step in steps:
                log.losses(step, {"total": 1.0}, 0.01)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [10, 20, 30]


def test_a_full_disk_is_told_in_one_line(tmp_path):
    with Logbook(tmp_path, start=0, steps=40, console=console()) as log:
        log.table.append({"step": 10, "total": 1.0})
        log.table.path = Path("/dev/full")
        with pytest.raises(InputError, match="/dev/full: cannot write"):
            log.table.append({"step": 20, "total": 3.0})


def test_a_row_of_the_same_step_takes_the_place_of_the_last(tmp_path):
    table = Table(tmp_path / "log.csv", 0)
    for step, total in ((10, 1.0), (20, 2.0), (20, 3.0)):
        table.append({"step": step, "total": total})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,total", "10,1", "20,3"]


def test_a_row_cut_short_by_a_kill_is_dropped(tmp_path):
    (tmp_path / "log.csv").write_text("step,total\n10,1\n2")
    with Logbook(tmp_path, start=10, steps=40, console=console()) as log:
        log.table.append({"step": 20, "total": 3.0})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,total", "10,1", "20,3"]


def test_a_row_with_more_figures_adds_columns(tmp_path):
    for start in (0, 20):
        with Logbook(tmp_path, start=start, steps=40, console=console()) as log:
            log.validation(start + 10, {"plain_dice": 0.5, "stroke_pce": 0.3})
    with Logbook(tmp_path, start=30, steps=40, console=console()) as log:
        log.validation(40, {"plain_dice": 0.6, "dice": 0.7, "stroke_pce": 0.2})
    rows = list(csv.DictReader((tmp_path / "validation.csv").read_text().splitlines()))
    assert [(row["step"], row["plain_dice"], row["stroke_pce"], row["dice"]) for row in rows] == [
        ("10", "0.5", "0.3", ""), ("30", "0.5", "0.3", ""), ("40", "0.6", "0.2", "0.7"),
    ]  # fmt: skip


def test_means():
    assert mean_of([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}]) == {"a": 2.0, "b": 2.0}
