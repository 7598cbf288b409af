"""Dice and HD95 of 40 volumes, against MedPy on as many threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from medpy.metric import binary  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import material
from benchmarks.timing import Row, compare
from pclmix.data.phantom import make_heart
from pclmix.evaluate import evaluate_case, evaluate_folders

CLASSES = (1, 2, 3)
TOLERANCE = 1e-6
Scores = dict[str, dict[int, tuple[float, float]]]
Pairs = dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def bench(runs: int, quick: bool) -> list[Row]:
    """Arrays in memory, then the same from files; the scores must agree, or it fails."""
    pairs = _pairs(4 if quick else 40, (96, 80, 4) if quick else (256, 216, 10))
    predictions, truth = material.folder(), material.folder()
    for case, pair in pairs.items():
        for folder, array in zip((predictions, truth), pair, strict=True):
            material.write(folder / f"{case}.nii.gz", array)
    apart = _difference(_ours(pairs), _medpy(pairs))
    from_files = {
        case: {label: (score.dice, score.hd95) for label, score in scores.items()}
        for case, scores in evaluate_folders(predictions, truth).cases.items()
    }
    apart = max(apart, _difference(from_files, _medpy(pairs)))
    if apart > TOLERANCE:
        raise AssertionError(f"scores differ from MedPy's by {apart}, expected at most {TOLERANCE}")
    in_memory = compare(lambda: _ours(pairs), lambda: _medpy(pairs), runs)
    on_disk = compare(lambda: evaluate_folders(predictions, truth), lambda: _medpy_files(predictions, truth), runs)
    what = f"Dice and HD95 of {len(pairs)} volumes, 3 classes"
    baseline = f"MedPy on {_threads()} threads"
    note = f"scores equal to {apart:.1g} mm"
    return [
        Row("evaluation", what, baseline, *in_memory, target=15, at_most=False, note=note),
        Row("evaluation, with reading", what, f"nibabel and {baseline}", *on_disk, target=15, at_most=False),
    ]


def _pairs(cases: int, shape: tuple[int, int, int]) -> Pairs:
    """(prediction, truth) a case: the truth bent by a pixel or two, and in every fourth a false spot."""
    pairs = {}
    for index in range(cases):
        truth = make_heart(index % 8, shape[:2], shape[2]).truth
        truth = np.roll(truth, index // 8, axis=1)
        random = np.random.default_rng(index)
        bend = [ndimage.gaussian_filter(random.normal(size=truth.shape), (8, 8, 0)) * 40 for _ in range(2)]
        rows, columns, slices = np.indices(truth.shape)
        bent = ndimage.map_coordinates(truth, [rows + bend[0], columns + bend[1], slices], order=0, mode="nearest")
        if index % 4 == 0:
            bent[10:13, 10:14, 1] = 1 + index % 3
        pairs[f"case{index:02d}"] = (np.asfortranarray(bent), np.asfortranarray(truth))
    return pairs


def _threads() -> int:
    return os.cpu_count() or 1


def _pooled(function: Callable[[Any], Any], pairs: Pairs) -> Scores:
    with ThreadPoolExecutor(_threads()) as pool:
        return dict(zip(pairs, pool.map(function, pairs.values()), strict=True))


def _ours(pairs: Pairs) -> Scores:
    def score(pair: tuple[NDArray[Any], NDArray[Any]]) -> dict[int, tuple[float, float]]:
        return {label: (s.dice, s.hd95) for label, s in evaluate_case(*pair, material.SPACING, CLASSES).items()}

    return _pooled(score, pairs)


def _scored(pair: tuple[NDArray[Any], NDArray[Any]]) -> dict[int, tuple[float, float]]:
    prediction, truth = pair
    return {
        label: (
            binary.dc(prediction == label, truth == label),
            binary.hd95(prediction == label, truth == label, voxelspacing=material.SPACING),
        )
        for label in CLASSES
    }


def _medpy(pairs: Pairs) -> Scores:
    return _pooled(_scored, pairs)


def _medpy_files(predictions: Path, truth: Path) -> Scores:
    def score(path: Path) -> dict[int, tuple[float, float]]:
        return _scored((np.asarray(nib.load(predictions / path.name).dataobj), np.asarray(nib.load(path).dataobj)))

    paths = sorted(truth.iterdir())
    with ThreadPoolExecutor(_threads()) as pool:
        return dict(zip([path.name for path in paths], pool.map(score, paths), strict=True))


def _difference(ours: Scores, theirs: Scores) -> float:
    """Largest difference of any score."""
    return max(
        abs(a - b)
        for case in theirs
        for label in CLASSES
        for a, b in zip(ours[case][label], theirs[case][label], strict=True)
    )
