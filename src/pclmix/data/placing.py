"""Where a crop is cut from its slice: chance, centre, and what lies there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pclmix.labels import IGNORE


class CropChance(NamedTuple):
    """What places one crop: fractions in [0, 1), and `jitter` in crops."""

    near: float
    where: float
    jitter: NDArray[np.float64]
    free: NDArray[np.float64]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "CropChance":
        """The next one of a stream."""
        return cls(random.random(), random.random(), random.uniform(-0.25, 0.25, 2), random.random(2))


def foreground_pixels(strokes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, 2): (row, column) of the foreground strokes of a slice (H, W)."""
    return np.argwhere((strokes > 0) & (strokes != IGNORE))


def brought(strokes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The foreground strokes of an annotated slice (h, w), brought to an unlabelled one of `shape` (H, W) as fractions
    of the sides: (N, 2). So crops of unlabelled slices lie where those of annotated ones do, and nothing has to lie in
    the middle; anywhere at all, most would miss what is to be learnt."""
    return (foreground_pixels(strokes) + 0.5) * np.array(shape) / np.array(strokes.shape) - 0.5


def crop_centre(
    foreground: NDArray[np.number], shape: tuple[int, ...], crop: tuple[int, int], share: float, chance: CropChance
) -> tuple[int, int]:
    """Centre of a crop in a slice of `shape`: for a `share` of the crops near one of the foreground pixels (N, 2), else
    anywhere the crop stays within the slice."""
    anywhere = tuple(
        round(side / 2 + fraction * (size - side)) if size > side else size // 2
        for fraction, size, side in zip(chance.free, shape, crop, strict=True)
    )
    if len(foreground) == 0 or chance.near >= share:
        return anywhere[0], anywhere[1]
    pick = foreground[int(chance.where * len(foreground))].tolist()
    centre = []
    for position, size, side, shift in zip(pick, shape, crop, chance.jitter, strict=True):
        wanted = position + shift * side
        # Rather real surroundings than emptiness: keep the crop within the slice where it fits.
        centre.append(round(min(max(wanted, side / 2), size - side / 2)) if size > side else size // 2)
    return centre[0], centre[1]


def overlap(
    centre: tuple[int, int], window: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a window round `centre` and of the array it lies over, where both exist."""
    target, source = [], []
    for middle, side, size in zip(centre, window, shape, strict=True):
        start = middle - side // 2
        low, high = max(start, 0), min(start + side, size)
        target.append(slice(low - start, high - start))
        source.append(slice(low, high))
    return (target[0], target[1]), (source[0], source[1])
