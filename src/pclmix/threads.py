"""Threads for many cases at once, on one machine's cores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

AT_ONCE = 4
"""Most cases in memory at once."""


@contextmanager
def case_threads(cases: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that split torch's cores between them; what has not begun when the block is left never will.

    A core that reads, resamples or writes one case would hold up a network spread over all cores, but not another
    case's network on another core.
    """
    cores = torch.get_num_threads()
    count = max(1, min(cases, cores, AT_ONCE))
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(cores // count,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)
