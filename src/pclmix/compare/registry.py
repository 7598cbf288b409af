"""The methods by name."""

from pclmix.compare.base import Method
from pclmix.compare.pce import PartialCrossEntropy
from pclmix.config import nearest
from pclmix.errors import InputError
from pclmix.method.pclmix import PCLMix

METHODS: dict[str, type[Method]] = {
    "pclmix": PCLMix,
    "pce": PartialCrossEntropy,
}


def get_method(name: str) -> type[Method]:
    """The method of that name. Raises `InputError` naming the nearest one."""
    if name not in METHODS:
        raise InputError(f"--method {name}: unknown, {nearest(name, METHODS)}")
    return METHODS[name]
