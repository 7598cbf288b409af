"""The numbers behind the tables, as CSV."""

import math
from collections.abc import Sequence

from pclmix.report.document import Sheet
from pclmix.report.results import DEFAULT, Results, Row
from pclmix.report.scores import Versus, dice_columns, hd95_columns, row_scores, seed_deviation
from pclmix.report.tables import value

VERSUS = tuple(Versus.__dataclass_fields__)


def volume_sheet(results: Results, name: str, view: str) -> Sheet:
    """A line a row, run, volume and class, tidy; a run that two rows share is listed under both."""
    header = ("part", "row", "fold", "seed", "case", "patient", "label", "class", "dice", "hd95_mm")
    lines: list[list[object]] = []
    for row in results.rows:
        for job in results.finished(row):
            for case, scores in sorted(job.scores.get(view, {}).items()):
                lines += [
                    [
                        *(row.part, row.name, job.fold, job.seed, case, job.patients.get(case, case)),
                        *(label, results.classes.get(label, str(label)), score.dice, score.hd95),
                    ]
                    for label, score in sorted(scores.items())
                ]
    return Sheet(name, header, lines)


def summary_sheet(
    results: Results, rows: Sequence[Row], name: str, view: str = DEFAULT, tests: dict[str, Versus] | None = None
) -> Sheet:
    """A line a row: Dice and HD95 a class and mean over volumes, with the paired `tests` where there are some."""
    columns = [
        f"{kind}_{c}_{what}"
        for kind, whats in (("dice", ("mean", "sd")), ("hd95_mm", ("mean", "sd", "infinite")))
        for c in [*results.classes.values(), "all"]
        for what in whats
    ]
    tested = [] if tests is None else [f"versus_{column}" for column in VERSUS]
    start = ["part", "row", "parameter", "value", "finished", "jobs", "volumes", "seeds", "dice_sd_over_seeds"]
    lines: list[list[object]] = []
    for row in rows:
        scores = row_scores(results, row, view)
        line: list[object] = [row.part, row.name, row.parameter, "" if row.value is None else value(row)]
        line += [len(results.finished(row)), len(row.jobs)]
        if scores is None:
            lines.append([*line, 0, 0, *[math.nan] * (1 + len(columns) + len(tested))])
            continue
        line += [len(scores.cases), len(scores.seeds), seed_deviation(scores)]
        line += [x for c in dice_columns(scores) for x in (c.mean, c.sd)]
        line += [x for c in hd95_columns(scores) for x in (c.mean, c.sd, c.infinite)]
        versus = (tests or {}).get(row.name)
        line += [math.nan if versus is None else getattr(versus, column) for column in VERSUS[: len(tested)]]
        lines.append(line)
    return Sheet(name, (*start, *columns, *tested), lines)
