"""A synthetic short-axis heart with scribbles: something to learn where there is no real data.

Ellipses for the left ventricle, its muscle and the crescent of the right ventricle shrink towards the apex; around them
lie a liver, a chest wall and vessels as bright as blood, which are background. A bias field, speckle and noise make it
hard; a simulated annotator draws about 1 % of the pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pclmix.data.folder import write_dataset_json

CLASSES = {"background": 0, "RV": 1, "Myo": 2, "LV": 3}
IGNORE_ON_DISK = 4
SPACING = (1.5, 1.5, 8.0)
"""mm: row, column, slice."""


@dataclass(frozen=True)
class Heart:
    """One volume: `image` (H, W, S) float32, `truth` and `scribble` (H, W, S) uint8; 4 in `scribble`: not annotated."""

    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    scribble: NDArray[np.uint8]


def make_heart(seed: int, size: tuple[int, int] = (128, 128), slices: int = 8) -> Heart:
    """One heart; the same seed gives the same heart."""
    random = np.random.default_rng([seed, 7])
    shape = (*size, slices)
    truth = np.zeros(shape, np.uint8)
    tissue = np.zeros(shape, np.float32)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    centre = np.array([size[0] / 2, size[1] / 2]) + random.uniform(-10, 10, 2)
    radius, wall = random.uniform(13, 19), random.uniform(5, 8)
    turn, squash = random.uniform(-0.6, 0.6), random.uniform(0.85, 1.15)
    distractors = _distractors(random, size, centre)
    for index in range(slices):
        depth = index / (slices - 1)
        shrink = np.sqrt(max(0.0, 1 - 0.85 * depth**1.6)) if index else 0.95
        middle = centre + random.normal(0, 0.6, 2) + depth * np.array([3.0, -2.0])
        u, v = _rotated(y - middle[0], x - middle[1], turn)
        distance = np.hypot(u * squash, v / squash)
        blood = distance < radius * shrink
        muscle = (distance < radius * shrink + wall) & ~blood
        right = _crescent(u, v, radius, wall, shrink) & ~blood & ~muscle
        present = 0 < index < slices - 1
        image = 0.32 + 0.10 * ndimage.gaussian_filter(random.normal(size=size), 3) * 6
        image[_body(y, x, size)] += 0.12
        for mask, brightness in distractors:
            image[mask] = brightness
        if present:
            truth[..., index] = np.select([right, muscle, blood], [1, 2, 3], 0)
            image[right | blood] = 0.82
            image[muscle] = 0.34
            image[blood & _papillary(u, v, radius * shrink, random)] = 0.42
        tissue[..., index] = image
    bias = 1 + 0.35 * _smooth(random, size, 40)[..., None]
    blurred = ndimage.gaussian_filter(tissue, (0.8, 0.8, 0.0)) * bias
    image = blurred * (1 + 0.10 * random.normal(size=shape)) + 0.05 * random.normal(size=shape)
    scribble = np.stack([_annotate(truth[..., i], random) for i in range(slices)], axis=-1)
    return Heart((image * 400 + 40).astype(np.float32), truth, scribble)


def make_phantom(folder: Path, cases: int, seed: int, scribbled: int | None = None) -> Path:
    """Write a dataset folder of `cases` scribbled hearts (two frames a patient) with dense labels to evaluate.

    With `scribbled` only the first so many have labels, the others are images alone.
    """
    patients = {}
    for index in range(cases):
        case = f"heart{index // 2 + 1:03d}_frame{index % 2 + 1:02d}"
        patients[case] = case.split("_")[0]
        heart = make_heart(seed * 10_000 + index, _size(index))
        _write(folder / "imagesTr" / f"{case}_0000.nii.gz", heart.image)
        if scribbled is not None and index >= scribbled:
            continue
        _write(folder / "labelsTr" / f"{case}.nii.gz", heart.scribble)
        _write(folder / "labelsTr_dense" / f"{case}.nii.gz", heart.truth)
    write_dataset_json(folder, "phantom", ("MR",), CLASSES, patients)
    return folder


def make_unseen(folder: Path, cases: int, seed: int) -> tuple[Path, Path]:
    """Write hearts no model has seen: their images and, apart from them, their truth. Returns both folders."""
    for index in range(cases):
        heart = make_heart(seed * 10_000 + 5_000 + index, _size(index))
        _write(folder / "images" / f"unseen{index + 1:02d}_0000.nii.gz", heart.image)
        _write(folder / "truth" / f"unseen{index + 1:02d}.nii.gz", heart.truth)
    return folder / "images", folder / "truth"


def _size(index: int) -> tuple[int, int]:
    return ((128, 128), (144, 120))[index % 2]


def _write(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, np.diag([*SPACING, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _rotated(dy: NDArray[np.float64], dx: NDArray[np.float64], angle: float) -> tuple[NDArray[np.float64], ...]:
    return dy * np.cos(angle) - dx * np.sin(angle), dy * np.sin(angle) + dx * np.cos(angle)


def _crescent(
    u: NDArray[np.float64], v: NDArray[np.float64], radius: float, wall: float, shrink: float
) -> NDArray[np.bool_]:
    reach = radius * shrink + wall
    outer = np.hypot(u / (1.15 * radius * shrink + 2), (v + reach * 0.75) / (0.95 * radius * shrink + 2)) < 1
    return outer & (np.hypot(u, v) > reach)


def _body(y: NDArray[np.float64], x: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.hypot((y - size[0] / 2) / (0.47 * size[0]), (x - size[1] / 2) / (0.47 * size[1])) < 1


def _distractors(
    random: np.random.Generator, size: tuple[int, int], centre: NDArray[np.float64]
) -> list[tuple[NDArray[np.bool_], float]]:
    """Vessels and organs in the background, several as bright as blood and as round as a ventricle."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    found: list[tuple[NDArray[np.bool_], float]] = []
    while len(found) < 6:
        place = random.uniform(0.06, 0.94, 2) * np.array(size)
        away = np.hypot(*(place - centre))
        radius = random.uniform(4, 11)
        if away < 44 + radius:
            continue
        mask = np.hypot((y - place[0]) * random.uniform(0.7, 1.4), x - place[1]) < radius
        found.append((mask, float(random.choice([0.82, 0.78, 0.36]))))
    return found


def _papillary(
    u: NDArray[np.float64], v: NDArray[np.float64], radius: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    mask = np.zeros(u.shape, bool)
    for angle in random.uniform(-0.4, 0.4, 2) + np.array([0.9, 2.6]):
        at = 0.62 * radius
        mask |= np.hypot(u - at * np.cos(angle), v - at * np.sin(angle)) < 0.16 * radius
    return mask


def _smooth(random: np.random.Generator, size: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    field = ndimage.gaussian_filter(random.normal(size=size), sigma, mode="wrap")
    return np.asarray(field / np.abs(field).max())


def _annotate(truth: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A hurried annotator: a part of the centre line of each structure, and an arc or two on the background."""
    out = np.full(truth.shape, IGNORE_ON_DISK, np.uint8)
    for label in (1, 2, 3):
        depth = ndimage.distance_transform_edt(truth == label)
        if depth.max() < 1.5:
            continue
        if label == 3:  # a ring within the blood pool; its ridge would be a point
            ridge = np.abs(depth - 0.5 * depth.max()) < 0.6
        else:
            ridge = (depth >= ndimage.maximum_filter(depth, 3) - 0.3) & (depth > 1)
        out[ridge & _sector(truth == label, random, 0.45 if label == 3 else 0.55)] = label
    heart = truth > 0
    gap = (
        ndimage.distance_transform_edt(~heart)
        if heart.any()
        else np.hypot(*(np.indices(truth.shape) - np.array(truth.shape)[:, None, None] / 2))
    )
    ring = np.abs(gap - random.uniform(5, 9)) < 0.7
    out[ring & _sector(heart if heart.any() else gap < 30, random, 0.5)] = 0
    return out


def _sector(mask: NDArray[np.bool_], random: np.random.Generator, share: float) -> NDArray[np.bool_]:
    """The part of the plane within a random range of angles round a mask's centre: where the pen went."""
    centre = ndimage.center_of_mass(mask)
    y, x = np.indices(mask.shape)
    angle = (np.arctan2(y - centre[0], x - centre[1]) / (2 * np.pi) + random.random()) % 1
    return angle < share
