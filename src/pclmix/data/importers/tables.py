"""CSV files that a user writes beside the images."""

import csv
from pathlib import Path

from pclmix.errors import InputError


def csv_rows(path: Path, expected: str) -> list[list[str]]:
    """The lines of a CSV file, cells stripped, blank lines left out. Raises `InputError` if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot read ({error}), expected {expected}") from None
    return [row for row in rows if any(row)]
