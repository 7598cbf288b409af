"""Scores of a row: its folds pooled, its seeds averaged a volume, and its paired test against the reference."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pclmix.report.results import Results, Row
from pclmix.report.statistics import Values, bootstrap_mean, holm, paired_difference, signed_rank


@dataclass(frozen=True)
class RowScores:
    """Volumes (V) of a row, a column a foreground class (K): the mean over its runs.

    `dice`: (V, K); `hd95`: (V, K), mm, infinite where it is in any run; `seeds`: mean Dice over all volumes a seed.
    """

    row: Row
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    dice: Values
    hd95: Values
    seeds: dict[int, float]
    complete: bool

    @property
    def volume_dice(self) -> Values:
        """(V,) mean Dice of the classes of each volume."""
        return np.nanmean(self.dice, axis=1)

    @property
    def volume_hd95(self) -> Values:
        """(V,) mean HD95 of the classes of each volume, mm; infinite where that of any class is."""
        return np.nanmean(self.hd95, axis=1)


@dataclass(frozen=True)
class Column:
    """Mean and standard deviation over volumes; of HD95 over the finite ones, `infinite` says how many are not."""

    mean: float
    sd: float
    infinite: int = 0


@dataclass(frozen=True)
class Versus:
    """A row minus the reference over the `volumes` both have; `p_*` by Wilcoxon, `holm_*` corrected by Holm.

    `difference` of mean Dice with its 95 % interval `low`-`high`; `hd95`: median difference, mm.
    """

    volumes: int
    difference: float
    low: float
    high: float
    p_dice: float
    holm_dice: float
    hd95: float
    p_hd95: float
    holm_hd95: float


def row_scores(results: Results, row: Row, view: str) -> RowScores | None:
    """Scores of a row, `view` "default" or "plain"; None where no finished job has them."""
    jobs = [job for job in results.finished(row) if view in job.scores]
    found: dict[str, list[tuple[list[float], list[float]]]] = defaultdict(list)
    seeds: dict[int, list[float]] = defaultdict(list)
    patients: dict[str, str] = {}
    for job in jobs:
        for case, scores in job.scores[view].items():
            known = [scores.get(label) for label in results.classes]
            dices = [math.nan if score is None else score.dice for score in known]
            found[case].append((dices, [math.nan if score is None else score.hd95 for score in known]))
            seeds[job.seed].append(float(np.nanmean(dices)))
            patients[case] = job.patients.get(case, case)
    if not found:
        return None
    cases = tuple(sorted(found))
    return RowScores(
        row=row,
        cases=cases,
        patients=tuple(patients[case] for case in cases),
        dice=np.array([np.mean([dices for dices, _ in found[case]], axis=0) for case in cases]),
        hd95=np.array([np.mean([distances for _, distances in found[case]], axis=0) for case in cases]),
        seeds={seed: float(np.mean(values)) for seed, values in sorted(seeds.items())},
        complete=results.complete(row),
    )


def dice_columns(scores: RowScores) -> list[Column]:
    """Dice of each class, then of the mean of the classes of a volume."""
    columns = [_finite(column) for column in scores.dice.T]
    return [*columns, Column(float(scores.volume_dice.mean()), float(scores.volume_dice.std()))]


def hd95_columns(scores: RowScores) -> list[Column]:
    """HD95 of each class over its finite volumes, then the mean of the classes, as `pclmix evaluate` computes it.

    The deviation of the last column is that of the volumes' means over their finite classes.
    """
    columns = [_finite(column) for column in scores.hd95.T]
    volumes = [float(volume[np.isfinite(volume)].mean()) for volume in scores.hd95 if np.isfinite(volume).any()]
    means = [column.mean for column in columns if math.isfinite(column.mean)]
    return [
        *columns,
        Column(
            float(np.mean(means)) if means else math.nan,
            float(np.std(volumes)) if volumes else math.nan,
            sum(column.infinite for column in columns),
        ),
    ]


def seed_deviation(scores: RowScores) -> float:
    """Sample standard deviation of the mean Dice over seeds; NaN with one seed."""
    return float(np.std(list(scores.seeds.values()), ddof=1)) if len(scores.seeds) > 1 else math.nan


def common(ours: RowScores, theirs: RowScores) -> tuple[list[int], list[int], list[str]]:
    """Places in both of the cases that both have, and their patients; by case id, whatever the order."""
    place = {case: index for index, case in enumerate(theirs.cases)}
    pairs = [(index, place[case]) for index, case in enumerate(ours.cases) if case in place]
    return [a for a, _ in pairs], [b for _, b in pairs], [ours.patients[a] for a, _ in pairs]


def dice_difference(ours: RowScores, theirs: RowScores) -> tuple[float, float, float]:
    """Mean over common volumes of the difference of mean Dice, and its 95 % bootstrap interval; NaN without any."""
    a, b, patients = common(ours, theirs)
    if not a:
        return math.nan, math.nan, math.nan
    differences = ours.volume_dice[a] - theirs.volume_dice[b]
    return float(differences.mean()), *bootstrap_mean(differences, patients)


def compare(rows: Sequence[RowScores], reference: RowScores | None) -> dict[str, Versus]:
    """Every complete row against the reference, by name; Dice and HD95 are one family of tests each.

    Empty where the reference is missing or not complete.
    """
    if reference is None or not reference.complete:
        return {}
    tested = [row for row in rows if row.complete and row.row is not reference.row and common(row, reference)[0]]
    p_dice, p_hd95, hd95 = [], [], []
    for row in tested:
        a, b, _ = common(row, reference)
        distances = paired_difference(row.volume_hd95[a], reference.volume_hd95[b])
        p_dice.append(signed_rank(row.volume_dice[a] - reference.volume_dice[b]))
        p_hd95.append(signed_rank(distances))
        with np.errstate(invalid="ignore"):  # between an infinite loss and an infinite gain lies no number
            hd95.append(float(np.median(distances)))
    found = {}
    for index, (row, dice, distance) in enumerate(zip(tested, holm(p_dice), holm(p_hd95), strict=True)):
        difference = dice_difference(row, reference)
        volumes = len(common(row, reference)[0])
        found[row.row.name] = Versus(volumes, *difference, p_dice[index], dice, hd95[index], p_hd95[index], distance)
    return found


def _finite(values: Values) -> Column:
    finite = values[np.isfinite(values)]
    infinite = int(np.isinf(values).sum())
    if not finite.size:
        return Column(math.nan, math.nan, infinite)
    return Column(float(finite.mean()), float(finite.std()), infinite)
