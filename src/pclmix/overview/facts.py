"""Numbers of a predicted case: how large its structures are and how good the prediction is expected to be."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pclmix.config import Plan
from pclmix.digits import readable
from pclmix.files import atomic_path

SUMMARY_NAME = "summary.csv"


@dataclass(frozen=True)
class CaseFacts:
    """Of one case, by class name without background: volume in ml, and the Dice to expect of it."""

    case: str
    volumes: dict[str, float]
    expected: dict[str, float]

    @property
    def mean_expected(self) -> float:
        """Mean over the classes, by which cases are sorted: what should be looked at comes first."""
        return sum(self.expected.values()) / len(self.expected)


def case_facts(
    case: str, labels: NDArray[np.uint8], spacing: Sequence[float], expected: Sequence[float], plan: Plan
) -> CaseFacts:
    """Facts of a label map; `spacing` in mm along its axes, `expected` Dice a foreground class."""
    voxel = float(np.prod(spacing)) / 1000  # mm³ to ml
    counts = np.bincount(labels.ravel(), minlength=len(plan.classes))
    names = plan.class_names[1:]
    volumes = {name: float(counts[plan.classes[name]]) * voxel for name in names}
    return CaseFacts(case, volumes, dict(zip(names, expected, strict=True)))


def by_doubt(cases: Sequence[CaseFacts]) -> list[CaseFacts]:
    """The least expected Dice first, cases alike by name."""
    return sorted(cases, key=lambda facts: (facts.mean_expected, facts.case))


def write_summary(path: Path, cases: Sequence[CaseFacts], calibrated: bool) -> None:
    """A line a case and class, by doubt. `calibrated`: whether expected Dice was fitted to true Dice."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "class", "volume_ml", "expected_dice", "calibrated"])
        for facts in by_doubt(cases):
            for name, volume in facts.volumes.items():
                expected = f"{facts.expected[name]:.3f}"
                writer.writerow([facts.case, name, readable(volume, 2), expected, "yes" if calibrated else "no"])
