"""Training batches as a pure function of (seed, step), so that a resume needs nothing but the step number."""

import math
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pclmix.config import AugmentSettings, Plan, TrainSettings
from pclmix.data.augment import draw, shade, warp
from pclmix.data.cache import CachedCase
from pclmix.data.draws import CHANCE, CROPS, PLAIN, Pick, SliceRow, random_numbers
from pclmix.data.kinds import KINDS, SliceKind, kind_of
from pclmix.data.strokes import Ring, beyond, find_ring
from pclmix.errors import InputError
from pclmix.labels import IGNORE

BEYOND = 254
"""Label of a pixel beyond its slice's ring, within this file only: it is warped like the others, then taken apart."""


class Origin(NamedTuple):
    """Where the crops of a batch lie: `slices` (B,), places in `BatchSource.slices`; `frames` (B, 2, 3), a crop's pixel
    (x, y, 1) -> pixel (x, y) of its slice, centres at whole numbers."""

    slices: Tensor
    frames: Tensor


@dataclass(frozen=True)
class Batch:
    """`image`: (B, C, H, W) float32; `scribble`: (B, H, W) int64, 0..K-1 or IGNORE; `valid`: (B, H, W) bool, false
    where nothing was imaged; `possible`: (B, K, H, W) bool, false where strokes elsewhere in the slice rule out a
    class; `origin`: on the CPU, None for what was mixed of several slices."""

    image: Tensor
    scribble: Tensor
    valid: Tensor
    possible: Tensor
    origin: Origin | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            scribble=self.scribble.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
            possible=self.possible.to(device, non_blocking=True),
        )


class _CropChance(NamedTuple):
    """What places one crop: fractions in [0, 1), and `jitter` in crops."""

    near: float
    where: float
    jitter: NDArray[np.float64]
    free: NDArray[np.float64]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "_CropChance":
        """The next one of a stream."""
        return cls(random.random(), random.random(), random.uniform(-0.25, 0.25, 2), random.random(2))


class BatchSource:
    """Draws crops of annotated slices, and of unlabelled ones for a method that uses those (`SliceRow`).

    `slices` holds (case, index) of the annotated slices, then of the unlabelled ones; `kinds` the kind of each.
    `unlabelled`: cases that nobody annotated, or None where the method makes no use of unlabelled slices. In those
    everything is possible. They are at most `train.unlabelled` of what is drawn, and never a larger share of it than of
    all slices, so none is seen more often than an annotated one.

    Of several ranks each cuts and warps its share of the batch, consecutive samples; the shares end to end are the
    batch of one rank (where a share is one sample, to the rounding of its coordinates).
    """

    def __init__(
        self,
        cases: Sequence[CachedCase],
        plan: Plan,
        augment: AugmentSettings,
        train: TrainSettings,
        seed: int,
        *,
        unlabelled: Sequence[CachedCase] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.cases = cases if unlabelled is None else [*cases, *unlabelled]
        self.plan, self.augment, self.train, self.seed = plan, augment, train, seed
        size = plan.batch // world
        self.share = slice(rank * size, (rank + 1) * size)
        every = [(case, index) for case, cached in enumerate(cases) for index in range(cached.label.shape[0])]
        self.slices = [(case, index) for case, index in every if (cases[case].label[index] != IGNORE).any()]
        if not self.slices:
            raise InputError("no slice carries a scribble at the plan's spacing, expected at least one annotated pixel")
        annotated = len(self.slices)
        if unlabelled is not None and train.unlabelled:
            if train.unlabelled_from == "slices":
                self.slices += sorted(set(every) - set(self.slices))
            self.slices += [(len(cases) + n, index) for n, c in enumerate(unlabelled) for index in range(len(c.label))]
        left = len(self.slices) - annotated
        self.plain_row = SliceRow(seed, annotated)
        self.row = SliceRow(seed, annotated, left, min(train.unlabelled, left / len(self.slices)))
        self.kinds: list[SliceKind] = ["unlabelled"] * len(self.slices)
        self.present = np.ones((len(self.slices), len(plan.classes)), bool)
        self.rings: list[Ring | None] = [None] * len(self.slices)
        for place in range(annotated):
            strokes = np.asarray(self.strokes(place))
            kind = self.kinds[place] = kind_of(strokes)
            if plan.complete_strokes and kind != "point":
                self.present[place, 1:] = np.bincount(strokes.ravel(), minlength=256)[1 : len(plan.classes)] > 0
            if plan.rings and kind == "scribble":
                self.rings[place] = find_ring(strokes, plan.spacing)
        self.held = [kind for kind in KINDS if kind in self.kinds]
        # The window must hold a rotated, shrunk crop: what lies in the slice then is real, not filled in.
        reach = math.hypot(*plan.crop) / min(plan.crop) if (augment.rotation or augment.right_angles) else 1.0
        factor = min(reach, 1.35) / (1 - augment.scale)
        self.window = tuple(2 * math.ceil(side * factor / 2) for side in plan.crop)

    def batch(self, step: int) -> Batch:
        """The rank's share of the augmented batch of a training step."""
        chosen = self.row.take(step * self.plan.batch, self.plan.batch)
        images, labels, valid, corners = self._windows(chosen, random_numbers(self.seed, CROPS, step), self.share)
        chosen = chosen[self.share]
        generator = torch.Generator().manual_seed(int(random_numbers(self.seed, CHANCE, step).integers(2**62)))
        chance = draw(self.augment, self.plan.batch, generator).share(self.share)
        image, label, inside = warp(chance.matrix, images, labels, valid, self.plan.crop)
        scribble, possible = self._ruled_out(label, chosen)
        origin = self._origin(chosen, corners, chance.matrix)
        return Batch(shade(chance, image, inside), scribble, inside, possible, origin)

    def plain_batch(self, index: int) -> Batch:
        """A batch without augmentation, for batch-norm statistics; numbered apart from the training steps.

        It is whole on every rank, so that all get the same statistics, and of annotated slices alone.
        """
        chosen = self.plain_row.take(index * self.plan.batch, self.plan.batch)
        images, labels, valid, corners = self._windows(chosen, random_numbers(self.seed, PLAIN, index), slice(None))
        matrix = torch.eye(2).expand(self.plan.batch, 2, 2)
        image, label, inside = warp(matrix, images, labels, valid, self.plan.crop)
        scribble, possible = self._ruled_out(label, chosen)
        return Batch(image, scribble, inside, possible, self._origin(chosen, corners, matrix))

    def kinds_drawn(self, batch: Batch) -> dict[str, float]:
        """Fraction of a batch's samples that are of each kind there is; empty where there is but one kind."""
        if len(self.held) < 2 or batch.origin is None:
            return {}
        counts = Counter(self.kinds[place] for place in batch.origin.slices.tolist())
        return {kind: counts[kind] / counts.total() for kind in self.held}

    def image(self, place: int) -> NDArray[np.float16]:
        """(C, H, W) of a training slice."""
        case, index = self.slices[place]
        return self.cases[case].image[index]

    def strokes(self, place: int) -> NDArray[np.uint8]:
        """(H, W) scribble of a training slice, 0..K-1 or IGNORE."""
        case, index = self.slices[place]
        return self.cases[case].label[index]

    def dense(self, place: int) -> NDArray[np.uint8]:
        """(H, W) dense label of a training slice, where the cases were opened with theirs; of an unlabelled slice all
        IGNORE."""
        if self.kinds[place] == "unlabelled":
            return self.strokes(place)
        case, index = self.slices[place]
        dense = self.cases[case].dense
        assert dense is not None
        return dense[index]

    def _origin(self, chosen: Sequence[Pick], corners: Tensor, matrix: Tensor) -> Origin:
        """`corners` (B, 2): the windows' first pixels (x, y) in their slices; `matrix` as in `warp`."""
        middle = (torch.tensor([self.plan.crop[1], self.plan.crop[0]]) - 1) / 2
        window = (torch.tensor([self.window[1], self.window[0]]) - 1) / 2
        shift = corners + window - matrix @ middle
        return Origin(torch.tensor([pick.place for pick in chosen]), torch.cat([matrix, shift[:, :, None]], dim=2))

    def _ruled_out(self, label: Tensor, chosen: Sequence[Pick]) -> tuple[Tensor, Tensor]:
        """Scribble (B, H, W) and possible classes (B, K, H, W) of warped labels."""
        beyond_ring = label == BEYOND
        present = torch.from_numpy(self.present[[pick.place for pick in chosen]])
        possible = present[:, :, None, None] & ~beyond_ring[:, None]
        possible[:, 0] = True
        return torch.where(beyond_ring, IGNORE, label), possible

    def _windows(
        self, chosen: Sequence[Pick], random: np.random.Generator, share: slice
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Source windows (B, C, h, w), their labels (B, h, w) and validity (B, h, w) round the crops' centres, and
        their corners (B, 2) as (x, y); a label is a class, IGNORE, or BEYOND. Chance is drawn for all of `chosen`,
        windows are cut for the `share`."""
        chances = [_CropChance.drawn(random) for _ in chosen][share]
        chosen = chosen[share]
        batch, (height, width) = len(chosen), self.window
        image = np.zeros((batch, len(self.plan.channels), height, width), np.float32)
        label = np.full((batch, height, width), IGNORE, np.int64)
        valid = np.zeros((batch, height, width), bool)
        corners = np.zeros((batch, 2), np.float32)
        for item, ((place, guide), chance) in enumerate(zip(chosen, chances, strict=True)):
            pixels, strokes = self.image(place), self.strokes(place)
            centre = self._centre(self.strokes(guide), strokes.shape, chance)
            corners[item] = centre[1] - width // 2, centre[0] - height // 2
            target, source = _overlap(centre, (height, width), strokes.shape)
            image[(item, slice(None), *target)] = pixels[(slice(None), *source)]
            label[(item, *target)] = strokes[source]
            ring = self.rings[place]
            if ring is not None:
                outside = beyond(ring, *source, self.plan.spacing)
                label[(item, *target)][outside & (strokes[source] == IGNORE)] = BEYOND
            valid[(item, *target)] = True
        return torch.from_numpy(image), torch.from_numpy(label), torch.from_numpy(valid), torch.from_numpy(corners)

    def _centre(self, guide: NDArray[np.uint8], shape: tuple[int, ...], chance: _CropChance) -> tuple[int, int]:
        """Centre of a crop in a slice of `shape`: near an annotated foreground pixel of the guide (h, w), else anywhere
        the crop stays within the slice.

        In an unlabelled slice the guide is another one, and the place the same in fractions of the sides: its crops
        lie where those of annotated slices do, and no organ is taken to lie in the middle.
        """
        rows, columns = np.nonzero((guide > 0) & (guide != IGNORE))
        anywhere = tuple(
            round(side / 2 + fraction * (size - side)) if size > side else size // 2
            for fraction, size, side in zip(chance.free, shape, self.plan.crop, strict=True)
        )
        if len(rows) == 0 or chance.near >= self.train.foreground:
            return anywhere[0], anywhere[1]
        pick = int(chance.where * len(rows))
        centre = []
        for position, theirs, size, side, shift in zip(
            (rows[pick], columns[pick]), guide.shape, shape, self.plan.crop, chance.jitter, strict=True
        ):
            wanted = (position + 0.5) * size / theirs - 0.5 + shift * side
            # Rather real surroundings than emptiness: keep the crop within the slice where it fits.
            centre.append(round(min(max(wanted, side / 2), size - side / 2)) if size > side else size // 2)
        return centre[0], centre[1]


def _overlap(
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


def prefetch(source: BatchSource, start: int, stop: int, ahead: int = 4) -> Iterator[tuple[int, Batch]]:
    """(step, batch) for every step, made by a thread a few steps ahead; order and content do not depend on timing."""
    ready: queue.Queue[tuple[int, Batch] | BaseException] = queue.Queue(maxsize=ahead)
    closed = threading.Event()

    def put(item: tuple[int, Batch] | BaseException) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for step in range(start, stop):
                if not put((step, source.batch(step))):
                    return
        except BaseException as error:
            put(error)

    worker = threading.Thread(target=work, daemon=True, name="prefetch")
    worker.start()
    try:
        for _ in range(start, stop):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        worker.join()
