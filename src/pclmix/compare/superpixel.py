"""Scribble walking: a stroke's class spreads over its superpixels (Zhou et al., MICCAI 2023)."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.ndimage import distance_transform_edt

from pclmix.console import stderr_console
from pclmix.data.batches import BatchSource
from pclmix.data.cache import cache_folder
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.labels import IGNORE

FORMAT = 1

Walked = tuple[NDArray[np.uint8], NDArray[np.float16]]
"""Label (h, w), 0..K-1 or IGNORE, and confidence (h, w), 0..1."""


def superpixels(image: NDArray[np.float16], count: int, compactness: float) -> NDArray[np.int64]:
    """(h, w): the SLIC superpixel of each pixel, numbered from 0 (Achanta et al., PAMI 2012).

    `image`: (C, h, w), each channel brought to 0..1 by its own range; `count`: about how many; `compactness`: how much
    a distance of one superpixel's side weighs, on the scale of 0..1.
    """
    from skimage.segmentation import slic  # slow to import, and every command knows all methods

    pixels = np.moveaxis(np.asarray(image, np.float64), 0, -1)
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    pixels = (pixels - low) / np.maximum(high - low, 1e-6)
    found: NDArray[np.int64] = slic(
        pixels, n_segments=count, compactness=compactness, start_label=0, convert2lab=False, channel_axis=-1
    )
    return found


def walk(
    strokes: NDArray[np.uint8], superpixel: NDArray[np.int64], spacing: tuple[float, float], decay: float
) -> Walked:
    """A superpixel that strokes of one class alone touch takes that class; strokes keep theirs, the rest is IGNORE.

    Confidence is exp(-distance to the nearest stroke of that class / `decay`), both in mm, so 1 on strokes; 1
    everywhere a class has walked where `decay` is 0. `strokes`, `superpixel`: (h, w), at least one pixel annotated;
    `spacing`: mm, (row, column).
    """
    drawn = [int(value) for value in np.unique(strokes) if value != IGNORE]
    touched = np.stack([np.bincount(superpixel[strokes == value], minlength=superpixel.max() + 1) for value in drawn])
    owner = np.where((touched > 0).sum(axis=0) == 1, np.asarray(drawn)[touched.argmax(axis=0)], IGNORE)
    label = np.where(strokes == IGNORE, owner[superpixel], strokes).astype(np.uint8)
    confidence = (label != IGNORE).astype(np.float16)
    for value in drawn if decay else ():
        distance = distance_transform_edt(strokes != value, sampling=spacing)
        confidence = np.where(label == value, np.exp(-distance / decay), confidence).astype(np.float16)
    return label, confidence


def walked_slices(source: BatchSource, count: int, compactness: float, decay: float) -> list[Walked]:
    """`walk` of every training slice, by its place; a file a case in the cache folder, whoever made it first."""
    places = source.places_by_case()
    walked: dict[int, Walked] = {}
    console = stderr_console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        for case, of_case in bar.track(list(places.items()), description="superpixels"):
            indices = [source.slices[place][1] for place in of_case]
            named = repr((FORMAT, indices, count, compactness, decay, source.plan.spacing))
            name = f"{source.cases[case].key}_walked_{hashlib.sha256(named.encode()).hexdigest()[:16]}.npz"

            def make(of_case: list[int] = of_case) -> list[Walked]:
                return [
                    walk(
                        source.strokes(place),
                        superpixels(source.image(place), count, compactness),
                        source.plan.spacing,
                        decay,
                    )
                    for place in of_case
                ]

            walked.update(zip(of_case, _kept(cache_folder() / name, make), strict=True))
    return [walked[place] for place in range(len(source.slices))]


def _kept(path: Path, make: Callable[[], list[Walked]]) -> list[Walked]:
    """What the file holds, made first where it is not there."""
    if not path.exists():
        labels, confidences = zip(*make(), strict=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, label=np.stack(labels), confidence=np.stack(confidences))
    try:
        with np.load(path) as held:
            return list(zip(held["label"], held["confidence"], strict=True))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None
