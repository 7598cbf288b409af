"""Named segments and the classes of a data set: who has a class's name is that class."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pclmix.data.grid import Volume
from pclmix.errors import InputError


def by_name(label: Volume, classes: Mapping[str, int]) -> Volume:
    """A label whose segments have the values of the classes they are named like (capitals and spaces round it aside).

    A segment of another name keeps its value. Raises `InputError` where that is the value of a class that is named by
    another segment of the file. Files without names are left as they are.
    """
    if not label.segments:
        return label
    values = {name.strip().casefold(): value for name, value in classes.items()}
    new = {name: values.get(name.strip().casefold(), value) for name, value in label.segments.items()}
    for name, value in new.items():
        if (other := next((n for n in new if n != name and new[n] == value), None)) is not None:
            raise InputError(
                f"{label.path}: segment {name} has value {value}, which is also that of segment {other}, "
                "expected its name in --classes"
            )
    array = label.array.copy()
    for name, value in label.segments.items():
        array[label.array == value] = new[name]
    return replace(label, array=np.asarray(array), segments=new)
