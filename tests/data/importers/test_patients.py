"""Cases of one patient are told as one, by a table or a pattern."""

import pytest

from pclmix.data.importers.patients import find_patients
from pclmix.errors import InputError

CASES = ["p1_a", "p1_b", "p2_a"]
EXPECTED = {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2"}


def test_by_pattern_by_table_or_each_its_own(tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("p1_a,p1\np1_b , p1\np2_a,p2\nother,p9\n")
    assert find_patients(CASES, table, None) == EXPECTED
    assert find_patients(CASES, None, r"(p\d)_") == EXPECTED
    assert find_patients(CASES, None, None) == {case: case for case in CASES}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p1_a,p1\np1_b,p1\n", "no line for case p2_a"),
        ("p1_a,p1,x\n", "found 'p1_a,p1,x', expected a line CASE,PATIENT each"),
        ("p1_a,p1\np1_a,p2\n", "case p1_a of patients p1 and p2"),
    ],
)
def test_tables_that_do_not_say_it(tmp_path, text, message):
    table = tmp_path / "patients.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        find_patients(CASES, table, None)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [(r"p\d", "no group in brackets"), ("(", "no regular expression"), ("(p1)", "finds no patient in p2_a")],
)
def test_patterns_that_do_not_find_it(tmp_path, pattern, message):
    with pytest.raises(InputError, match=message):
        find_patients(CASES, None, pattern)
    with pytest.raises(InputError, match="found both"):
        find_patients(CASES, tmp_path / "t.csv", pattern)
