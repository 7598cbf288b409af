"""Named segments become one label map, where no two of them hold the same voxel."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pclmix.errors import InputError


def merged(
    shape: tuple[int, ...], segments: Iterable[tuple[str, int, NDArray[np.bool_]]], path: Path
) -> NDArray[np.int16]:
    """A label map of `segments`: name, value (each once, above 0) and mask. Raises `InputError` for an overlap."""
    array = np.zeros(shape, np.int16)
    names: dict[int, str] = {}
    for name, value, mask in segments:
        if other := int(array[mask].max(initial=0)):
            count = int((array[mask] == other).sum())
            raise InputError(f"{path}: segments {names[other]} and {name} share {count} voxels, expected no overlap")
        array[mask] = value
        names[value] = name
    return array


def numbered(values: list[int]) -> list[int]:
    """The segments' own values where each is once there and above 0, else 1, 2, ... in their order."""
    alike = len(set(values)) < len(values) or min(values, default=1) < 1
    return list(range(1, len(values) + 1)) if alike else values


def require_names_once(names: list[str], path: Path) -> None:
    """Raise `InputError` where two segments have one name, so that a name says which is meant."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: {names.count(name)} segments are named {name}, expected each name once")
