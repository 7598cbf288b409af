"""Numbers to significant digits: of micrometres as good as of millimetres, and as before of the latter."""

import math

import pytest

from pclmix.digits import readable, significant


@pytest.mark.parametrize(
    ("value", "expected"), [(1.8517234, 1.8517), (0.000325004, 0.000325), (4.00004e-6, 4e-6), (10.000004, 10.0), (0, 0)]
)
def test_significant_digits(value, expected):
    assert significant(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.8517, "1.85"), (123.456, "123.46"), (0.5, "0.50"), (0.0, "0.00"), (0.000325, "0.000325"), (0.08, "0.08"),
     (0.0523, "0.0523"), (3.25e-6, "3.25e-06"), (-0.00012, "-0.00012"), (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_decimals_as_long_as_they_say_two_digits(value, expected):
    assert readable(value, 2) == expected
