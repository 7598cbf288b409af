"""Which slices a batch is cut from, and its random numbers: pure functions of the seed and a number, so that a resume
needs nothing but the step."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ORDER, CROPS, CHANCE, STATISTICS, UNLABELLED = range(5)
"""Streams of random numbers; each is seeded by (seed, stream, counter)."""


def random_numbers(seed: int, stream: int, counter: int) -> np.random.Generator:
    """The generator of a stream's counter."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, stream, counter])))


class Pick(NamedTuple):
    """A training slice by its place in `BatchSource.slices`, and the annotated slice whose strokes say where to cut:
    itself, or for an unlabelled one the next annotated slice of the row."""

    place: int
    guide: int


@dataclass(frozen=True)
class SliceRow:
    """An endless row of slices, of which every batch takes the next ones.

    Places 0..annotated-1 are annotated slices, the `unlabelled` ones come after them. Each of the two runs through
    shuffled epochs of its own, so every annotated slice, dense, scribbled or dotted, comes once an epoch: none is shown
    more often for the way it was annotated, and a kind's share is that of its slices. Unlabelled slices are spread
    evenly over the row from number `since` on: of the first n slices from there, `share` times n (rounded down) are
    unlabelled.
    """

    seed: int
    annotated: int
    unlabelled: int = 0
    share: float = 0.0
    since: int = 0

    def take(self, first: int, count: int) -> list[Pick]:
        """`count` slices of the row from number `first` on."""
        epochs: dict[tuple[int, int], NDArray[np.int64]] = {}

        def shuffled(stream: int, size: int, number: int) -> int:
            epoch, offset = divmod(number, size)
            if (stream, epoch) not in epochs:
                epochs[stream, epoch] = random_numbers(self.seed, stream, epoch).permutation(size)
            return int(epochs[stream, epoch][offset])

        taken = []
        for number in range(first, first + count):
            before, after = (int(max(0, n - self.since) * self.share) for n in (number, number + 1))  # unlabelled ones
            place = guide = shuffled(ORDER, self.annotated, number - before)
            if after > before:
                place = self.annotated + shuffled(UNLABELLED, self.unlabelled, before)
            taken.append(Pick(place, guide))
        return taken
