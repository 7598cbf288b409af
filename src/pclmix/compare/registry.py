"""The methods by name."""

import difflib

from pclmix.compare.base import Method
from pclmix.compare.pce import PartialCrossEntropy
from pclmix.errors import InputError
from pclmix.method.pclmix import PCLMix

METHODS: dict[str, type[Method]] = {
    "pclmix": PCLMix,
    "pce": PartialCrossEntropy,
}


def get_method(name: str) -> type[Method]:
    """The method of that name. Raises `InputError` naming the nearest one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--method {name}: unknown, {hint}expected one of {', '.join(METHODS)}")
    return METHODS[name]
