"""What all readers share: one line for a damaged file or one that is no volume, what is left of an alpha channel."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pclmix.errors import InputError, SeveralVolumesError


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever a library raises over `path` into an `InputError` of one line.

    The libraries promise no kinds of errors for damaged files (a cut PNG is a `SyntaxError`), so all are caught.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file, expected {expected}")
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a readable image ({short(error)}), expected {expected}") from None


def short(error: BaseException) -> str:
    """The last line of a library's message, which holds the cause; what stands before it is the place in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:120]


def no_volume(path: Path, shape: tuple[int, ...]) -> SeveralVolumesError:
    """The error for an array that is not 3-D, with what is to become of a fourth axis."""
    return SeveralVolumesError(
        f"{path}: {len(shape)}-D, shape {shape}, expected a 3-D volume: one file a frame, PATIENT_frame01, "
        "PATIENT_frame02, ..., or one a channel, CASE_0000, CASE_0001, ... (docs/own-data.md splits one)"
    )


def without_alpha(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """An array with colours last as grey, or RGB; alpha is dropped. Raises `InputError` where it hides something."""
    count = array.shape[-1]
    if count in (2, 4):
        opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
        if hidden := int((array[..., -1] != opaque).sum()):
            raise InputError(f"{path}: {hidden} transparent pixels, expected an image that is opaque everywhere")
        array = array[..., :-1]
    elif count not in (1, 3):
        raise InputError(f"{path}: {count} values a voxel, expected grey or RGB (one file a channel)")
    return array[..., 0] if array.shape[-1] == 1 else array
