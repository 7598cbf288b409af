"""Which patient a case belongs to: a split separates patients, so frames and slices of one must be told as one."""

import re
from collections.abc import Iterable
from pathlib import Path

from pclmix.data.importers.tables import csv_rows
from pclmix.errors import InputError

EXPECTED = "a line CASE,PATIENT each"


def find_patients(cases: Iterable[str], file: Path | None, pattern: str | None) -> dict[str, str]:
    """Case -> patient, by a CSV file or by the first group of a pattern searched in the case's name.

    Without either each case is its own patient. Raises `InputError` for both, and for a case without a patient.
    """
    cases = list(cases)
    if file is not None and pattern is not None:
        raise InputError("--patients and --patient-pattern: found both, expected one of them")
    if file is not None:
        return _from_file(cases, Path(file))
    if pattern is not None:
        return _from_pattern(cases, pattern)
    return {case: case for case in cases}


def _from_file(cases: list[str], file: Path) -> dict[str, str]:
    table: dict[str, str] = {}
    for row in csv_rows(file, EXPECTED):
        if len(row) != 2 or not all(row):
            raise InputError(f"{file}: found {','.join(row)!r}, expected {EXPECTED}")
        case, patient = row
        if table.setdefault(case, patient) != patient:
            raise InputError(f"{file}: case {case} of patients {table[case]} and {patient}, expected one of them")
    if missing := [case for case in cases if case not in table]:
        raise InputError(f"{file}: no line for case {missing[0]}{_more(missing)}, expected {EXPECTED}")
    return {case: table[case] for case in cases}


def _from_pattern(cases: list[str], pattern: str) -> dict[str, str]:
    where = f"--patient-pattern {pattern!r}"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{where}: no regular expression ({error}), expected one like '(patient[0-9]+)'") from None
    if not compiled.groups:
        raise InputError(f"{where}: no group in brackets, expected one round the patient, like '(patient[0-9]+)'")
    matches = {case: match for case in cases if (match := compiled.search(case)) is not None}
    found = {case: match[1] for case, match in matches.items() if match[1]}
    if missing := [case for case in cases if case not in found]:
        raise InputError(f"{where}: finds no patient in {missing[0]}{_more(missing)}, expected one in every case")
    return found


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
