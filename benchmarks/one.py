"""`python -m benchmarks.one NAME RUNS QUICK FILE`: one benchmark in its own process; the rows go to a JSON file."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Run it."""
    name, runs, quick, file = sys.argv[1:]
    rows = importlib.import_module(f"benchmarks.{name}").bench(int(runs), quick == "True")
    Path(file).write_text(json.dumps([dataclasses.asdict(row) for row in rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
