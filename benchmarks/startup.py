"""What `pclmix --help` adds to starting Python."""

import subprocess
import sys

from benchmarks.timing import Row, compare


def bench(runs: int, quick: bool) -> list[Row]:
    """Both in a fresh process, several times as often as the others, for they are short."""
    del quick
    ours, base = compare(lambda: _run("-m", "pclmix", "--help"), lambda: _run("-c", "pass"), 3 * runs)
    return [Row("startup", "pclmix --help", "python -c pass", ours, base, target=0.25, difference=True)]


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
