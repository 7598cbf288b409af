"""Preprocessed slices on disk as memory-mapped arrays, keyed by the files' content and the plan.

A second run opens them at once and memory does not grow with the data. The folder is $PCLMIX_CACHE, else
~/.cache/pclmix; deleting it is always safe.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from pclmix.config import Plan
from pclmix.data.folder import Case, Dataset, read_dense, read_scribble
from pclmix.data.kinds import SliceKind, kind_of
from pclmix.data.resample import preprocess_image, preprocess_label
from pclmix.data.volume import read_geometry, read_image, require_same_grid, slice_axis, to_slices
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.labels import IGNORE
from pclmix.threads import case_threads

FORMAT = 2
FIELDS = ("channels", "classes", "spacing", "slice_axis", "intensity", "clip", "statistics")


@dataclass(frozen=True)
class CachedCase:
    """`image`: (S, C, H, W) float16; `label`: (S, H, W) uint8, all IGNORE where the case has no scribble.
    `dense`: (S, H, W) uint8, the dense labels where they were asked for. All are memory-mapped. `key` names the content
    that image and label were made of. `kinds`: of each slice in the pixels it was annotated in, since on coarser ones a
    stroke may fall to pieces; empty where those are not known."""

    id: str
    key: str
    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    dense: NDArray[np.uint8] | None = None
    kinds: tuple[SliceKind, ...] = ()

    def kind(self, index: int) -> SliceKind:
        """The kind of a slice, by its resampled label where no other is known."""
        return self.kinds[index] if self.kinds else kind_of(np.asarray(self.label[index]))


def cache_folder() -> Path:
    """Where preprocessed slices are kept."""
    base = os.environ.get("PCLMIX_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pclmix"


def build_cache(
    dataset: Dataset, cases: Sequence[Case], plan: Plan, console: Console | None = None, *, dense: bool = False
) -> list[CachedCase]:
    """Open the preprocessed slices of `cases`, making those that are missing. Raises `InputError` for bad files.

    With `dense` the dense labels come along, and a case without them is an error.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make the cache folder ({error.strerror}); set PCLMIX_CACHE") from None
    settings = json.dumps({name: plan.model_dump(mode="json")[name] for name in FIELDS} | {"format": FORMAT})
    hashes = _Hashes(folder / "hashes.json")
    files = [[*case.images, *([case.label] if case.label else [])] for case in cases]
    with case_threads(len(cases)) as pool:
        keys = list(pool.map(lambda paths: hashes.key(paths, settings), files))
        hashes.save()
        # By key, since two cases of the same content share what is made of them.
        missing = {key: case for case, key in zip(cases, keys, strict=True) if not _paths(folder, key)[1].exists()}
        show = console is not None and console.is_terminal and bool(missing)
        with Progress(console=console, disable=not show, transient=True) as bar:
            made = pool.map(lambda key: _make(dataset, missing[key], plan, *_paths(folder, key)), missing)
            for _ in bar.track(made, total=len(missing), description="preprocessing"):
                pass
        opened = [_open(case.id, key, *_paths(folder, key)) for case, key in zip(cases, keys, strict=True)]
        labelled = {key: case for case, key in zip(cases, keys, strict=True) if case.label is not None}
        found = pool.map(lambda key: _kinds(dataset, labelled[key], plan, folder / f"{key}_kinds.json"), labelled)
        kinds = dict(zip(labelled, found, strict=True))
        opened = [replace(one, kinds=kinds.get(one.key, ())) for one in opened]
        if dense:
            keys = list(pool.map(lambda case: hashes.key(_with_dense(dataset, case), settings), cases))
            hashes.save()
            paths = [folder / f"{key}_dense.npy" for key in keys]
            without = {path: case for case, path in zip(cases, paths, strict=True) if not path.exists()}
            list(pool.map(lambda path: _make_dense(dataset, without[path], plan, path), without))
            opened = [replace(one, dense=np.load(path, mmap_mode="r")) for one, path in zip(opened, paths, strict=True)]
    return opened


def _with_dense(dataset: Dataset, case: Case) -> list[Path]:
    """First image and dense label of a case."""
    if case.dense is None:
        raise InputError(f"{dataset.root / 'labelsTr_dense' / case.id}: no dense label, but the method learns from it")
    return [case.images[0], case.dense]


def _make_dense(dataset: Dataset, case: Case, plan: Plan, path: Path) -> None:
    image, volume = read_image(case.images[0]), read_dense(dataset, case)
    require_same_grid(image, volume)
    label = preprocess_label(replace(volume, geometry=image.geometry), plan)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, label)


def _make(dataset: Dataset, case: Case, plan: Plan, image_path: Path, label_path: Path) -> None:
    images = [read_image(path) for path in case.images]
    for other in images[1:]:
        require_same_grid(images[0], other)
    slices = preprocess_image(images, plan)
    if case.label is None:
        label = np.full(slices.shape[:1] + slices.shape[2:], IGNORE, np.uint8)
    else:
        scribble = read_scribble(dataset, case)
        require_same_grid(images[0], scribble)
        # Headers may differ within the tolerance of the grid; two roundings of it would not fit each other.
        label = preprocess_label(replace(scribble, geometry=images[0].geometry), plan)
    # The label is written last: where it exists, the pair is whole.
    for path, array in ((image_path, np.clip(slices, -6e4, 6e4).astype(np.float16)), (label_path, label)):
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)


def _kinds(dataset: Dataset, case: Case, plan: Plan, path: Path) -> tuple[SliceKind, ...]:
    """Kinds of a case's slices, read where an earlier run wrote them."""
    if not path.exists():
        shape, geometry = read_geometry(case.images[0])  # as the images are cut; headers of labels may differ a little
        slices = to_slices(read_scribble(dataset, case).array, slice_axis(shape, geometry.spacing, plan.slice_axis))
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps([kind_of(part) for part in slices]), encoding="utf-8")
    try:
        return tuple(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None


def _open(case: str, key: str, image_path: Path, label_path: Path) -> CachedCase:
    try:
        return CachedCase(case, key, np.load(image_path, mmap_mode="r"), np.load(label_path, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise InputError(f"{image_path}: damaged ({error}); delete it and run again") from None


def _paths(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}_image.npy", folder / f"{key}_label.npy"


class _Hashes:
    """SHA-256 of files, remembered by path, size and time of change, so that a second run need not read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        self.changed = False
        try:
            self.known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}

    def key(self, files: Sequence[Path], settings: str) -> str:
        digest = hashlib.sha256(settings.encode())
        for path in files:
            digest.update(self._file(path).encode())
        return digest.hexdigest()[:32]

    def _file(self, path: Path) -> str:
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            entry = self.known.get(str(path.resolve()))
            if entry and entry[:2] == stamp:
                return str(entry[2])
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path}: cannot read ({error.strerror})") from None
        self.known[str(path.resolve())] = [*stamp, digest]
        self.changed = True
        return digest

    def save(self) -> None:
        if self.changed:
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(self.known), encoding="utf-8")
