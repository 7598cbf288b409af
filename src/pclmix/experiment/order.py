"""What one job is to do, and the files by which it is told and tells: no torch here, so that who only waits is lean."""

import json
import sys
from pathlib import Path
from typing import Any

from pclmix.config import Settings, Tree, load_tree
from pclmix.files import atomic_path

COMMAND = (sys.executable, "-m", "pclmix.experiment.job")
"""What does a job, given its folder."""

ORDER_NAME = "order.toml"
RESULT_NAME = "job.json"
FAILED_NAME = "failed.json"
RESULT_VERSION = 1
"""Of `job.json`, which the report reads."""


class Order(Tree):
    """What a job is to do; `order.toml` in its folder. With a folder of `predictions` it scores these, no training."""

    job: str
    part: str
    """comparison, ablation, sensitivity or effort."""
    row: str
    method: str
    parameter: str = ""
    value: float = 0.0
    dataset: str
    fold: str
    train_cases: tuple[str, ...]
    test_cases: tuple[str, ...]
    seed: int
    steps: int | None = None
    minutes: float | None = None
    settings: Settings | None = None
    predictions: str = ""

    def work(self) -> dict[str, Any]:
        """What it computes, whatever table it stands in: two orders of the same work are one job."""
        effort = (self.parameter, self.value) if self.part == "effort" and self.value < 1 else None
        work = self.model_dump(exclude={"job", "part", "row", "parameter", "value"})
        return work | {"effort": effort}


def fail(folder: Path, error: str) -> None:
    """Leave word of why a job did not finish."""
    order = load_tree(Order, folder / ORDER_NAME)
    with atomic_path(folder / FAILED_NAME) as temporary:
        entry = {"job": order.job, "part": order.part, "row": order.row, "error": error}
        temporary.write_text(json.dumps(entry, indent=1), encoding="utf-8")
