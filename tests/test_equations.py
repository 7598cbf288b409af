"""docs/equations.md names functions and tests that exist, and every equation."""

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| (M\d) \| .* \| `([\w.]+)` \| `([\w/.]+)::(\w+)` \|$",
    (ROOT / "docs" / "equations.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)


def test_every_equation_is_listed():
    assert sorted({row[0] for row in ROWS}) == [f"M{number}" for number in range(1, 10)]


def test_functions_and_tests_exist_and_name_the_equation():
    for equation, function, file, test in ROWS:
        module, _, name = function.rpartition(".")
        if name == "losses":
            module, _, owner = module.rpartition(".")
            found = getattr(getattr(importlib.import_module(module), owner), name)
        else:
            found = getattr(importlib.import_module(module), name)
        # M4's second function and M6, M8's halves say in words what they are; all name their equation.
        assert equation in (found.__doc__ or ""), f"{function} does not name {equation}"
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{test} is not in {file}"
        assert test.startswith(f"test_{equation.lower()}_")
