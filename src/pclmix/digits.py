"""Numbers by their significant digits, since a data set may be of millimetres, micrometres or nanometres."""


def significant(value: float, digits: int = 5) -> float:
    """`value` rounded to so many significant digits."""
    return float(f"{value:.{digits}g}")


def readable(value: float, decimals: int) -> str:
    """`value` with so many decimals, or, where those would hold less than two of its digits, its first three digits."""
    is_lost = 0 < abs(value) < 10.0 ** (1 - decimals)
    return f"{value:.3g}" if is_lost else f"{value:.{decimals}f}"
