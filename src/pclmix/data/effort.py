"""Less annotation on purpose: a copy of a dataset folder that keeps a share of its annotated slices or of every stroke.

Made as a dataset folder of its own, so that nothing downstream (plan, stroke rules, post-processing) sees more.
"""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pclmix.data.folder import Dataset, read_scribble, write_dataset_json
from pclmix.data.volume import Volume, from_slices, slice_axis, to_slices, write_label
from pclmix.labels import IGNORE

Kind = Literal["slices", "pixels"]


def thin_dataset(
    dataset: Dataset, cases: Collection[str], out: Path, kind: Kind, share: float, seed: int, axis: str = "auto"
) -> Path:
    """Write the dataset folder `out` with `share` of the annotation of `cases`; images are links, nothing else is kept.
    Files end as those of `dataset` do.

    `slices`: that share of all annotated slices, chosen at random over the cases, the others are IGNORE. `pixels`: of
    every stroke (a class in a slice) the pixels nearest to a random one of its own, so a shorter stroke; at least one.
    `axis` as in `PlannerSettings.slice_axis`.
    """
    chosen = [case for case in dataset.cases if case.id in set(cases)]
    for folder in ("imagesTr", "labelsTr"):
        (out / folder).mkdir(parents=True)
    volumes = {case.id: read_scribble(dataset, case) for case in chosen}
    axes = {id: slice_axis(volume.array.shape, volume.geometry.spacing, axis) for id, volume in volumes.items()}
    kept = _kept_slices(volumes, axes, share, seed) if kind == "slices" else {}
    for case in chosen:
        volume = volumes[case.id]
        slices = to_slices(volume.array, axes[case.id]).copy()
        for index in range(len(slices)):
            if kind == "slices":
                if index not in kept[case.id]:
                    slices[index] = IGNORE
            else:
                slices[index] = shorten(slices[index], share, _random(seed, case.id, index))
        array = from_slices(slices, axes[case.id])
        path = out / "labelsTr" / f"{case.id}{dataset.ending}"
        write_label(path, np.where(array == IGNORE, dataset.ignore, array).astype(np.uint8), volume)
        for image in case.images:
            os.symlink(image.resolve(), out / "imagesTr" / image.name)
    patients = {case.id: case.patient for case in chosen}
    write_dataset_json(out, dataset.name, dataset.channels, dataset.classes, patients, dataset.ending)
    return out


def shorten(strokes: NDArray[np.uint8], share: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """A slice (H, W) with `share` of each class's annotated pixels, those nearest to one of them; the rest IGNORE."""
    out = np.full_like(strokes, IGNORE)
    for label in np.setdiff1d(np.unique(strokes), [IGNORE]):
        places = np.argwhere(strokes == label)
        centre = places[random.integers(len(places))]
        near = np.argsort(((places - centre) ** 2).sum(axis=1), kind="stable")
        kept = places[near[: max(1, round(share * len(places)))]]
        out[kept[:, 0], kept[:, 1]] = label
    return out


def _kept_slices(volumes: dict[str, Volume], axes: dict[str, int], share: float, seed: int) -> dict[str, set[int]]:
    """Numbers of the slices that keep their strokes, by case id."""
    annotated = []
    for case, volume in volumes.items():
        slices = to_slices(volume.array, axes[case])
        annotated += [(case, index) for index in range(len(slices)) if (slices[index] != IGNORE).any()]
    kept: dict[str, set[int]] = {case: set() for case in volumes}
    order = _random(seed, "slices", 0).permutation(len(annotated))
    for place in order[: max(1, round(share * len(annotated)))]:
        case, index = annotated[place]
        kept[case].add(index)
    return kept


def _random(seed: int, name: str, index: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
