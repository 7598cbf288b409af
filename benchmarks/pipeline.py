"""What reading, cutting, augmenting and collating cost while training, preset cpu.

Ours: steps on the batches of `prefetch`, as in training: a thread reads slices mapped from disk (in the page cache,
where a second epoch finds them) and augments a few steps ahead. The time holds the wait for the first batch.
Baseline: as many steps on one batch held in memory. Both on all cores of this process.
"""

import os
from collections.abc import Iterable
from functools import partial
from itertools import repeat

from benchmarks.step import PROGRESS, TINY, phantom_session
from benchmarks.timing import Row, compare, seconds
from pclmix.data.batches import Batch, prefetch
from pclmix.session import Session


def bench(runs: int, quick: bool) -> list[Row]:
    """One row."""
    steps = 3 if quick else 12
    session = phantom_session("cpu", TINY if quick else (), cases=4 if quick else 40)
    batch = session.source.batch(0)
    ours, base = compare(partial(_fed, session, steps), partial(_held, session, steps, batch), runs)
    alone = seconds(lambda: [session.source.batch(step) for step in range(steps)]) / steps
    return [
        Row(
            name="input pipeline",
            what=f"{steps} steps of preset cpu, batches read, augmented and collated by a thread, "
            f"{len(os.sched_getaffinity(0))} cores",
            baseline="the same steps on one batch held in memory",
            ours=ours,
            base=base,
            target=1.05,
            note=f"a batch alone takes {1000 * alone:.1f} ms",
        )
    ]


def _fed(session: Session, steps: int) -> None:
    first = session.step  # other slices in each run
    _steps(session, (batch for _, batch in prefetch(session.source, first, first + steps)))


def _held(session: Session, steps: int, batch: Batch) -> None:
    _steps(session, repeat(batch, steps))


def _steps(session: Session, batches: Iterable[Batch]) -> None:
    """Train on the batches, to the end on the device."""
    losses = [session.advance(batch, PROGRESS)[0].total.detach() for batch in batches]
    float(losses[-1])
