"""Scribbles made from dense labels: what an annotator might have drawn, for data sets that have none.

Every component of every structure in a slice gets one curve: along its wall where it is a ring, half way in where it is
a blob, else along its skeleton. A background stroke runs once round all structures and on in a wider arc. The habits
are those of the experts' scribbles of ACDC (Valvano et al. 2021), as `pclmix scribble --compare` measures them.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from skimage.measure import find_contours
from skimage.morphology import skeletonize

from pclmix.errors import InputError
from pclmix.labels import IGNORE

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
Spacing = tuple[float, float]

BLOB = 20.0
"""A component is a blob if its area is below this many times the square of its depth (a disc: pi)."""

LOOP_DEPTH = (0.4, 0.65)
"""How far in a blob's loop runs, as a share of the depth. Experts on ACDC: 0.43 to 0.72 (80 % of the slices)."""

END_DEPTH = 0.4
"""A skeleton runs into the corners; its ends are cut back to this share of the depth."""

HOLE = 0.02
"""A hole makes a ring of a component if it has at least this share of its area; smaller ones are specks."""

GAP = (0.08, 0.2)
"""Distance of the background stroke from the structures, as a share of the square root of their area in the volume's
fullest slice. Experts on ACDC: 7 to 21 mm (80 % of the slices)."""

TURNS = (1.05, 1.7)
"""How often the background stroke goes round; beyond once it moves away, by `AWAY` gaps a turn."""

AWAY = (0.5, 4.0)

EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class ScribbleSettings:
    """`curve`: "loop" (as experts draw) or "skeleton" (blobs too get their skeleton); `width`: of the pen, pixels;
    `length`: share of each structure's curve that is kept; `border`: share of each component's outermost pixels drawn
    too, one stretch a border; `background`: draw it. Raises `InputError` for values that mean nothing."""

    curve: str = "loop"
    width: float = 1.0
    length: float = 1.0
    border: float = 0.0
    background: bool = True

    def __post_init__(self) -> None:
        if self.curve not in ("loop", "skeleton"):
            raise InputError(f"curve: found {self.curve!r}, expected loop or skeleton")
        if not 1 <= self.width <= 50:
            raise InputError(f"width: found {self.width}, expected 1 to 50 pixels")
        if not 0 < self.length <= 1:
            raise InputError(f"length: found {self.length}, expected a share above 0, up to 1")
        if not 0 <= self.border <= 1:
            raise InputError(f"border: found {self.border}, expected a share, 0 to 1")


def case_seed(seed: int, case: str) -> tuple[int, int]:
    """A seed of its own for each case, whatever other cases there are."""
    return seed, zlib.crc32(case.encode())


def simulate_scribble(
    dense: NDArray[np.uint8], spacing: Spacing, settings: ScribbleSettings, seed: Sequence[int]
) -> NDArray[np.uint8]:
    """Strokes for a volume of dense labels.

    Args:
        dense: (S, H, W), 0 background, any number of classes.
        spacing: mm, (row, column).
        settings: how to draw.
        seed: whole numbers; each slice draws its random numbers from them and its index.

    Returns:
        (S, H, W): the label of every stroke, IGNORE elsewhere. A stroke lies in its own structure, and every component
        (pixels that touch, also at a corner) of a structure has at least one pixel of it.
    """
    out = np.full(dense.shape, IGNORE, np.uint8)
    whole = dense > 0
    fullest = whole.sum(axis=(1, 2)).max(initial=0)
    for index, (labels, strokes) in enumerate(zip(dense, out, strict=True)):
        random = np.random.default_rng([*seed, index])
        for label in np.unique(labels[labels > 0]).tolist():
            numbered, _ = ndimage.label(labels == label, EIGHT)
            for number, box in enumerate(ndimage.find_objects(numbered), start=1):
                mask = numbered[box] == number
                strokes[box][_strokes_in(mask, spacing, settings, random)] = label
        if settings.background:
            stretch = math.sqrt((fullest or labels.size / 25) * spacing[0] * spacing[1])  # mm
            if whole[index].any():
                curve = _around(whole[index], spacing, stretch, random)
            else:
                curve = _across(np.asarray(whole.any(axis=0)), spacing, stretch, random)
            curve = np.clip(curve, 0, np.array(labels.shape) - 1)
            strokes[_draw(curve, labels.shape, settings.width) & (labels == 0)] = 0
    return out


def _strokes_in(mask: Mask, spacing: Spacing, settings: ScribbleSettings, random: np.random.Generator) -> Mask:
    """The curve of one component, which fills its box, and the part of its border that is asked for."""
    padded = np.pad(mask, 1)  # the edge of the picture is a border too
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)
    curve, closed = _interior(padded, depth, spacing, settings, random)
    kept = _stretch(curve, spacing, settings.length, closed, random)
    drawn = _draw(kept, padded.shape, settings.width) & padded
    if not drawn.any():
        drawn[np.unravel_index(depth.argmax(), depth.shape)] = True
    if settings.border > 0:
        own = random.spawn(1)[0]  # so that everything else is drawn as it is without a border
        drawn |= _part_of_border(padded, spacing, settings.border, own)
    return drawn[1:-1, 1:-1]


def _interior(
    mask: Mask, depth: Points, spacing: Spacing, settings: ScribbleSettings, random: np.random.Generator
) -> tuple[Points, bool]:
    """A curve (N, 2) in pixels inside a component, and whether it is closed."""
    filled, hole = _largest_hole(mask)
    deepest = float(depth.max())
    blob = mask.sum() * spacing[0] * spacing[1] < BLOB * deepest**2 and deepest >= 2 * max(spacing)
    if blob and hole is None and settings.curve == "loop":
        level = deepest * random.uniform(*LOOP_DEPTH)
        loop = max(find_contours(depth, level), key=len)
        if len(loop) > 8:
            return ndimage.gaussian_filter1d(loop[:-1], 2.0, axis=0, mode="wrap"), True
    line = skeletonize(filled)
    if hole is not None:  # cut the ring open along a ray out of its hole: what is left is one path
        angle = random.uniform(0, 2 * np.pi)
        y, x = np.indices(mask.shape) - np.array(hole)[:, None, None]
        on_ray = (np.abs(y * np.cos(angle) - x * np.sin(angle)) <= 1) & (y * np.sin(angle) + x * np.cos(angle) >= 0)
        line &= ~on_ray
    if not line.any():
        return np.argwhere(depth == deepest)[:1].astype(float), False
    path = _longest_path(line, spacing)
    inner = np.flatnonzero(depth[tuple(path.T)] >= END_DEPTH * deepest)
    if len(inner):
        path = path[inner[0] : inner[-1] + 1]
    return ndimage.gaussian_filter1d(path.astype(float), 1.0, axis=0, mode="nearest"), False


def _largest_hole(mask: Mask) -> tuple[Mask, tuple[int, int] | None]:
    """The mask with all holes filled but the largest, and the deepest pixel of that one; None where it is a speck."""
    holes = ndimage.binary_fill_holes(mask) & ~mask
    if not holes.any():
        return mask, None
    numbered, count = ndimage.label(holes)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    if sizes.max() < HOLE * mask.sum():
        return mask | holes, None
    hole = numbered == sizes.argmax() + 1
    row, column = np.unravel_index(ndimage.distance_transform_edt(hole).argmax(), mask.shape)
    return (mask | holes) & ~hole, (int(row), int(column))


def _graph(places: NDArray[np.int64], shape: tuple[int, ...], spacing: Spacing) -> sparse.csr_array:
    """Pixels (N, 2) as a graph: those that touch, also at a corner, are joined; lengths in mm."""
    number = np.full((shape[0] + 2, shape[1] + 2), -1)
    number[tuple((places + 1).T)] = np.arange(len(places))
    starts, ends, lengths = [], [], []
    for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = number[tuple((places + np.array((1 + row, 1 + column))).T)]
        joined = np.flatnonzero(other >= 0)
        starts.append(joined)
        ends.append(other[joined])
        lengths.append(np.full(len(joined), math.hypot(row * spacing[0], column * spacing[1])))
    edges = (np.concatenate(starts), np.concatenate(ends))
    return sparse.csr_array((np.concatenate(lengths), edges), shape=(len(places), len(places)))


def _longest_path(line: Mask, spacing: Spacing) -> NDArray[np.int64]:
    """The longest way along a skeleton without turning back, pixels (N, 2) in order; branches are left out."""
    places = np.argwhere(line)
    graph = _graph(places, line.shape, spacing)
    pieces = csgraph.connected_components(graph, directed=False)[1]
    start = int(np.flatnonzero(pieces == np.bincount(pieces).argmax())[0])
    for _ in range(2):  # the farthest point from anywhere on a tree is an end of its longest path
        distances, before = csgraph.dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        distances[np.isinf(distances)] = -1
        start, first = int(distances.argmax()), start
    path = [start]
    while path[-1] != first:
        path.append(int(before[path[-1]]))
    return places[path]


def _part_of_border(mask: Mask, spacing: Spacing, share: float, random: np.random.Generator) -> Mask:
    """A seeded stretch of the outermost pixels, of every border (a ring has two) its share."""
    out = np.zeros_like(mask)
    places = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    graph = _graph(places, mask.shape, spacing)
    pieces = csgraph.connected_components(graph, directed=False)[1]
    for piece in range(pieces.max() + 1):
        members = np.flatnonzero(pieces == piece)
        start = int(random.choice(members))
        distances = csgraph.dijkstra(graph, directed=False, indices=start)[members]
        nearest = members[np.argsort(distances, kind="stable")[: max(1, round(share * len(members)))]]
        out[tuple(places[nearest].T)] = True
    return out


def _stretch(curve: Points, spacing: Spacing, share: float, closed: bool, random: np.random.Generator) -> Points:
    """A seeded stretch of a curve, `share` of its length; a closed curve comes back to its start."""
    if closed:
        curve = np.roll(curve, -int(random.integers(len(curve))), axis=0)
        curve = np.concatenate([curve, curve[:1]])
    along = np.r_[0, np.cumsum(np.hypot(*(np.diff(curve, axis=0) * spacing).T))]
    first = random.uniform(0, 1 - share) * along[-1]
    inside = (along >= first) & (along <= first + share * along[-1])
    return curve[inside] if inside.any() else curve[:1]


def _around(structures: Mask, spacing: Spacing, stretch: float, random: np.random.Generator) -> Points:
    """A curve in pixels once round all structures of a slice and on in a wider arc; may leave the picture."""
    outline = np.argwhere(structures & ~ndimage.binary_erosion(structures)) * spacing
    turns, away, clockwise = random.uniform(*TURNS), random.uniform(*AWAY), random.choice([-1, 1])
    angle = random.uniform(0, 2 * np.pi) + clockwise * np.arange(0, turns * 2 * np.pi, np.pi / 180)
    turned = np.abs(angle - angle[0]) / (2 * np.pi)
    wave = 1 + 0.15 * np.sin(2 * angle + random.uniform(0, 2 * np.pi)) * random.uniform(-1, 1)
    gap = random.uniform(*GAP) * stretch * wave * (1 + away * np.maximum(turned - 0.8, 0))
    outward = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    touching = outline[(outline @ outward.T).argmax(axis=0)]  # of the convex hull, which the curve stays clear of
    return (touching + np.maximum(gap, 2 * max(spacing))[:, None] * outward) / spacing


def _across(structures: Mask, spacing: Spacing, stretch: float, random: np.random.Generator) -> Points:
    """A curve in pixels, an eight, over the place where other slices have structures (else the middle)."""
    middle = np.argwhere(structures).mean(axis=0) if structures.any() else (np.array(structures.shape) - 1) / 2
    t = np.linspace(0, 2 * np.pi, 360)
    turn, size = random.uniform(0, 2 * np.pi), stretch * random.uniform(0.6, 1.0)
    u, v = size * np.sin(t), size * 0.6 * np.sin(2 * t)
    return middle + np.stack([u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)], 1) / spacing


def _draw(curve: Points, shape: tuple[int, ...], width: float) -> Mask:
    """The pixels (H, W) that a pen of `width` pixels passes along a curve (N, 2)."""
    out = np.zeros(shape, bool)
    if len(curve) > 1:
        steps = np.maximum(np.ceil(np.abs(np.diff(curve, axis=0)).max(axis=1) * 4).astype(int), 1)
        which = np.repeat(np.arange(len(steps)), steps)
        part = (np.arange(len(which)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[which]
        curve = np.concatenate([curve[which] + part[:, None] * (curve[which + 1] - curve[which]), curve[-1:]])
    nearest = np.rint(curve).astype(int)
    reach = math.ceil(width / 2) if width > 1 else 0
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            place = nearest + np.array((row, column))
            touched = (np.hypot(*(place - curve).T) <= width / 2) | (row == column == 0)
            touched &= ((place >= 0) & (place < shape)).all(axis=1)
            out[tuple(place[touched].T)] = True
    return out
