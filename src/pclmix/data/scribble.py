"""A folder of dense labels in, a folder of simulated scribbles and their figures out (drawing.py draws them)."""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from scipy.spatial import KDTree
from skimage.morphology import skeletonize

from pclmix.data.drawing import Mask, Points, ScribbleSettings, Spacing, case_seed, simulate_scribble
from pclmix.data.folder import read_dataset, read_dense
from pclmix.data.grid import onto_grid
from pclmix.data.importers.builder import files_below
from pclmix.data.volume import (
    Volume,
    from_slices,
    in_plane,
    read_label,
    slice_axis,
    to_slices,
    write_label,
)
from pclmix.digits import readable
from pclmix.errors import InputError
from pclmix.evaluate import by_case, case_id
from pclmix.files import claim_folder
from pclmix.labels import IGNORE, MAX_CLASSES


@dataclass(frozen=True)
class Tally:
    """Counts of strokes, (K,) a class: slices that show it (`shown`), of them those without a stroke of it (`missing`),
    slices with a stroke (`drawn`), its pixels, those that agree with the dense label, and length in mm over all
    slices; `voxels` of all volumes."""

    shown: NDArray[np.int64]
    missing: NDArray[np.int64]
    drawn: NDArray[np.int64]
    pixels: NDArray[np.int64]
    agreeing: NDArray[np.int64]
    length: Points
    voxels: int

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class ScribbleReport:
    """What was drawn. `classes`: names in order; `drawn`: a case each; `real` and `distances` (mm, a class each, one
    for every slice with a stroke in both) only where there was something to compare with."""

    out: Path
    cases: int
    classes: tuple[str, ...]
    drawn: Tally
    real: Tally | None
    distances: tuple[tuple[float, ...], ...]


def tally(scribble: NDArray[np.uint8], dense: NDArray[np.uint8], spacing: Spacing, classes: int) -> Tally:
    """Counts of one volume's strokes (S, H, W) against its dense labels; `spacing`: mm, (row, column)."""
    strokes = [scribble == label for label in range(classes)]
    drawn = np.array([part.any(axis=(1, 2)) for part in strokes])
    shown = np.array([(dense == label).any(axis=(1, 2)) for label in range(classes)])
    return Tally(
        shown=shown.sum(axis=1),
        missing=(shown & ~drawn).sum(axis=1),
        drawn=drawn.sum(axis=1),
        pixels=np.array([part.sum() for part in strokes]),
        agreeing=np.array([(part & (dense == label)).sum() for label, part in enumerate(strokes)]),
        length=np.array([sum(stroke_length(one, spacing) for one in part if one.any()) for part in strokes]),
        voxels=dense.size,
    )


def stroke_distance(a: Mask, b: Mask, spacing: Spacing) -> float:
    """How far two strokes (H, W) lie apart, mm: mean way from a pixel to the other stroke, of both directions."""
    ours, theirs = np.argwhere(a) * spacing, np.argwhere(b) * spacing
    there, back = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
    return float(there.mean() + back.mean()) / 2


def make_scribbles(
    dense: Path,
    out: Path,
    settings: ScribbleSettings,
    *,
    seed: int = 0,
    compare: Path | None = None,
    overwrite: bool = False,
) -> ScribbleReport:
    """Write OUT/CASE.nii.gz, scribbles in the grid of their dense label; a pixel without a stroke is one above the
    last class.

    `dense` is a folder of dense label files or a dataset folder with labelsTr_dense, `compare` one of real scribbles of
    the same cases (CASE.nii.gz or CASE_scribble.nii.gz, nested or flat). Raises `InputError` for an `out` that is not
    empty or is one of the inputs, for files that are no dense labels, and for a case without its real scribble.
    """
    dense, out = Path(dense), Path(out)
    if compare is not None and not compare.is_dir():
        raise InputError(f"{compare}: no such folder, expected scribbles to compare with")
    classes, readers = _sources(dense)
    real = _real_scribbles(compare, list(readers)) if compare else {}
    read_from = {dense, dense / "labelsTr_dense", *(path.parent for path in real.values())}
    if out.resolve() in {folder.resolve() for folder in read_from}:
        raise InputError(f"{out}: found files there that are read, expected another folder for the output")
    claim_folder(out, overwrite=overwrite)
    count = len(classes)
    sums: list[Tally | None] = [None, None]
    distances: tuple[list[float], ...] = tuple([] for _ in classes)
    for case, read in readers.items():
        volume = read()
        axis = slice_axis(volume.array.shape, volume.geometry.spacing)
        spacing = in_plane(volume.geometry.spacing, axis)
        truth = np.ascontiguousarray(to_slices(volume.array, axis))
        scribble = simulate_scribble(truth, spacing, settings, case_seed(seed, case))
        scribbles = [scribble]
        if case in real:
            expert = to_slices(_read_real(real[case], volume, count), axis)
            scribbles.append(expert)
            for label in range(count):
                for ours, theirs in zip(scribble == label, expert == label, strict=True):
                    if ours.any() and theirs.any():
                        distances[label].append(stroke_distance(ours, theirs, spacing))
        for index, strokes in enumerate(scribbles):
            counts, known = tally(strokes, truth, spacing, count), sums[index]
            sums[index] = counts if known is None else known + counts
        on_disk = np.where(scribble == IGNORE, count, scribble)
        write_label(out / f"{case}.nii.gz", from_slices(on_disk, axis), volume)
    assert sums[0] is not None  # there is at least one case
    return ScribbleReport(out, len(readers), classes, sums[0], sums[1], tuple(tuple(values) for values in distances))


def render(report: ScribbleReport) -> Group:
    """The statistics as a table; a line more a class for real scribbles, where there are any."""
    heads = ["class", "slices", "undrawn", "pixels", "length", "agrees"]  # short: 80 columns show all of it
    table = Table(*(["class", "by", *heads[1:], "apart"] if report.real else heads))
    for label, name in enumerate(report.classes):
        for who, counts in (("pclmix", report.drawn), ("experts", report.real)):
            if counts is None:
                continue
            pixels, drawn = int(counts.pixels[label]), int(counts.drawn[label])
            row = [
                str(int(counts.shown[label])),
                str(int(counts.missing[label])),
                f"{pixels / counts.voxels:.3%}",
                readable(counts.length[label] / drawn, 1) if drawn else "-",
                f"{counts.agreeing[label] / pixels:.2%}" if pixels else "-",
            ]
            if report.real:
                apart = report.distances[label] if counts is report.drawn else ()
                row = [who, *row, readable(float(np.mean(apart)), 1) if apart else ""]
            table.add_row(name, *row)
    note = (
        "slices: that show the class; undrawn: of them without a stroke of it; pixels: drawn, share of all; "
        "length: mm a slice, mean where drawn; agrees: with the dense labels"
    )
    if report.real:
        note += "; apart: mm, mean distance of the two strokes of a slice"
    return Group(table, note, f"{report.out}: {report.cases} cases")


def _sources(dense: Path) -> tuple[tuple[str, ...], dict[str, Callable[[], Volume]]]:
    """Names of the classes, and a case how its dense label (uint8) is read."""
    if (dense / "dataset.json").exists():
        dataset = read_dataset(dense)
        names = tuple(sorted(dataset.classes, key=lambda name: dataset.classes[name]))
        cases: dict[str, Callable[[], Volume]] = {
            case.id: functools.partial(read_dense, dataset, case) for case in dataset.cases if case.dense
        }
        if not cases:
            raise InputError(f"{dense / 'labelsTr_dense'}: found no dense label, expected CASE.nii.gz a case")
        return names, cases
    files = by_case(dense)
    if not files:
        raise InputError(f"{dense}: found no label file, expected one a case")
    highest = 0
    for path in files.values():
        array = read_label(path).array
        if array.min() < 0 or array.max() >= MAX_CLASSES:
            wrong = int(array.min() if array.min() < 0 else array.max())
            raise InputError(f"{path}: label {wrong}, expected 0 (background) to {MAX_CLASSES - 1}")
        highest = max(highest, int(array.max()))
    if highest == 0:
        raise InputError(f"{dense}: found label 0 alone in all files, expected dense labels with a structure")
    return tuple(str(label) for label in range(highest + 1)), {
        case: functools.partial(_read_dense_file, path) for case, path in files.items()
    }


def _read_dense_file(path: Path) -> Volume:
    volume = read_label(path)
    return Volume(volume.array.astype(np.uint8), volume.geometry, volume.path, volume.header)


def _real_scribbles(folder: Path, cases: list[str]) -> dict[str, Path]:
    """Case -> scribble file, for all cases."""
    found: dict[str, Path] = {}
    for path in files_below(folder):
        case = re.sub(r"_scribbles?$", "", case_id(path))
        if case in found:
            raise InputError(f"{path}: two files for case {case}, the other is {found[case]}, expected one")
        found[case] = path
    for case in cases:
        if case not in found:
            raise InputError(f"{folder}: found no scribble of {case}, expected {case} or {case}_scribble")
    return {case: found[case] for case in cases}


def _read_real(path: Path, dense: Volume, classes: int) -> NDArray[np.uint8]:
    """A real scribble, 0..K-1 or IGNORE, in the axes of its file."""
    volume = onto_grid(dense, read_label(path))
    unknown = volume.array[(volume.array < 0) | (volume.array > classes)]
    if unknown.size:
        raise InputError(f"{path}: label {int(unknown[0])}, expected 0-{classes - 1} or {classes} (not annotated)")
    array: NDArray[Any] = np.where(volume.array == classes, IGNORE, volume.array)
    return array.astype(np.uint8)


def stroke_length(mask: Mask, spacing: Spacing) -> float:
    """Length of a stroke (H, W) along its middle, mm; 0 for a single pixel."""
    line = np.pad(skeletonize(mask), 1)
    here, right, below = line[:-1, :-1], line[:-1, 1:], line[1:, :-1]
    across = line[1:, 1:]
    corners = (here & across & ~right & ~below).sum() + (right & below & ~here & ~across).sum()
    straight = (here & right).sum() * spacing[1] + (here & below).sum() * spacing[0]
    return float(straight + corners * math.hypot(*spacing))
