"""Rows of the table, and how the seconds in them are measured."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`what` of PCLMix against a `baseline`: one measurement of each a run, in `unit`.

    The figure is ours / base, to be `at_most` the target; else the speed-up base / ours, to be at least the target;
    with `difference` it is ours - base, in `unit`, to be at most the target. A figure without a target just is.
    """

    name: str
    what: str
    baseline: str
    ours: list[float]
    base: list[float]
    target: float | None
    at_most: bool = True
    note: str = ""
    unit: str = "s"
    difference: bool = False

    @property
    def figures(self) -> list[float]:
        """One figure a run, of what was measured in it one after the other."""
        pairs = list(zip(self.ours, self.base, strict=True))
        if self.difference:
            return [ours - base for ours, base in pairs]
        return [ours / base if self.at_most else base / ours for ours, base in pairs]

    @property
    def ratio(self) -> float:
        """Median figure."""
        return statistics.median(self.figures)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and largest figure."""
        return min(self.figures), max(self.figures)

    @property
    def met(self) -> bool | None:
        """Whether the median figure keeps to the target; None without one."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most or self.difference else self.ratio >= self.target


def seconds(function: Callable[[], object]) -> float:
    """Wall clock of one call."""
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(
    ours: Callable[[], object], base: Callable[[], object], runs: int, *, warm: bool = True
) -> tuple[list[float], list[float]]:
    """Seconds of `runs` calls of each, in pairs of which every second is the other way round, so that a machine that
    slows down slows both; each is called once beforehand unless `warm` is off."""
    if warm:
        ours()
        base()
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        for index, function in ((0, ours), (1, base)) if run % 2 == 0 else ((1, base), (0, ours)):
            times[index].append(seconds(function))
    return times
