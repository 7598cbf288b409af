"""`python -m benchmarks [NAME...]`: measure, print the table, write every single measurement as JSON."""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Row
from pclmix.config import make_settings
from pclmix.errors import InputError
from pclmix.experiment.provenance import cpu_name
from pclmix.files import atomic_path, claim_file
from pclmix.session import precision

NAMES = (
    "step",
    "published",
    "pipeline",
    "memory",
    "inference",
    "predict",
    "evaluation",
    "preprocessing",
    "startup",
    "two_processes",
    "cost",
    "limit",
)
"""Modules of this folder, in the order of the table."""


def main() -> None:
    """Parse, measure, print; exit code 1 where a benchmark failed (a target that is missed is no failure)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones, of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it works; the figures mean nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        parser.error(f"{unknown[0]}: no such benchmark, expected some of {', '.join(NAMES)}")
    if arguments.json:
        try:
            claim_file(arguments.json, overwrite=arguments.overwrite)
        except InputError as error:
            parser.error(str(error))
    console = Console(width=None if sys.stdout.isatty() else 200)
    about = machine()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in arguments.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += measure(name, arguments.runs, arguments.quick)
        except subprocess.CalledProcessError as error:
            failed[name] = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
            print(error.stderr, file=sys.stderr)
    console.print(render(rows, "quick: the figures mean nothing" if arguments.quick else ""))
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", markup=False)
    for name, reason in failed.items():
        console.print(f"{name} failed: {reason}", markup=False)
    console.print(", ".join(f"{key} {value}" for key, value in about.items()), markup=False)
    if arguments.json:
        record = {"machine": about, "quick": arguments.quick, "rows": [to_json(row) for row in rows], "failed": failed}
        with atomic_path(arguments.json) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    sys.exit(1 if failed else 0)


def measure(name: str, runs: int, quick: bool) -> list[Row]:
    """Rows of one benchmark, from a process with temporary and cache folders of its own."""
    with tempfile.TemporaryDirectory(prefix="pclmix-bench-") as folder:
        file = Path(folder) / "rows.json"
        environment = os.environ | {"TMPDIR": folder, "PCLMIX_CACHE": f"{folder}/cache"}
        command = [sys.executable, "-m", "benchmarks.one", name, str(runs), str(quick), str(file)]
        subprocess.run(command, env=environment, stderr=subprocess.PIPE, stdout=sys.stderr, text=True, check=True)
        return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


def machine() -> dict[str, Any]:
    """What it was measured on."""
    about: dict[str, Any] = {"CPU": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        about["GPU"] = torch.cuda.get_device_name()
    return about | {"torch": torch.__version__, "precision": precision(make_settings("cpu", ()))}


def render(rows: list[Row], title: str) -> Table:
    """The table, a line a row."""
    table = Table(
        "name", "what", "baseline", "ours", "base", "ratio", "min - max", "target", "met", title=title or None
    )
    for row in rows:
        low, high = row.spread
        sign = "+" if row.difference else ""
        unit = f" {row.unit}" if row.difference else " x"
        bound = "at most" if row.at_most or row.difference else "at least"
        table.add_row(
            row.name,
            row.what,
            row.baseline,
            f"{statistics.median(row.ours):.4g} {row.unit}",
            f"{statistics.median(row.base):.4g} {row.unit}",
            f"{sign}{row.ratio:.3g}{unit}",
            f"{low:.3g} - {high:.3g}",
            "" if row.target is None else f"{bound} {sign}{row.target:g}{unit}",
            {None: "", True: "yes", False: "NO"}[row.met],
        )
    return table


def to_json(row: Row) -> dict[str, Any]:
    """All of a row, and what follows from it."""
    return dataclasses.asdict(row) | {"ratio": row.ratio, "spread": row.spread, "met": row.met}


if __name__ == "__main__":
    main()
