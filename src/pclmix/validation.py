"""Scores of a model on the validation cases, during a run and at its end; chooses nothing by them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import nn

from pclmix.averaging import with_fresh_statistics
from pclmix.config import Plan
from pclmix.data.cache import CachedCase
from pclmix.data.folder import Case, Dataset, read_dense, read_scribble
from pclmix.data.volume import from_slices, slice_axis, to_slices
from pclmix.evaluate import CaseScore, Evaluation, evaluate_case, summarise
from pclmix.infer import labels_from, predict_slices
from pclmix.labels import IGNORE
from pclmix.postprocess import choose_components, keep_largest_component
from pclmix.session import Session

STROKE_CASES = 16
"""Training cases predicted at the end to choose the post-processing."""


@dataclass(frozen=True)
class Validation:
    """Figures with and without post-processing; `strokes` are pCE and agreement on the validation cases' scribbles.

    `plain` is neither mirrored nor post-processed, `default` is what `predict` does by default. Both are None where
    no validation case has a dense label.
    """

    plain: Evaluation | None
    default: Evaluation | None
    strokes: dict[str, float]

    def figures(self) -> dict[str, float]:
        """One flat row for logs: mean Dice and HD95, a Dice a class, then the figures on the strokes."""
        row: dict[str, float] = {}
        for prefix, evaluation in (("", self.default), ("plain_", self.plain)):
            if evaluation is None or (prefix == "plain_" and evaluation is self.default):
                continue
            row[f"{prefix}dice"] = evaluation.mean.dice
            row[f"{prefix}hd95"] = evaluation.mean.hd95
            row[f"{prefix}infinite"] = float(evaluation.mean.infinite)
            for label, summary in evaluation.classes.items():
                row[f"{prefix}dice_{label}"] = summary.dice
        return row | self.strokes
