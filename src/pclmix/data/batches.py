"""Training batches as a pure function of (seed, step), so that a resume needs nothing but the step number."""

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pclmix.config import AugmentSettings, Plan, TrainSettings
from pclmix.data.augment import CONTROL, Draw, Geometry, draw, shade, warp
from pclmix.data.cache import CachedCase
from pclmix.data.strokes import Ring, beyond, find_ring
from pclmix.errors import InputError
from pclmix.labels import IGNORE

BEYOND = 254
"""Label of a pixel beyond its slice's ring, within this file only: it is warped like the others, then taken apart."""

ORDER, CROPS, CHANCE, PLAIN = range(4)
"""Streams of random numbers; each is seeded by (seed, stream, counter)."""


class Origin(NamedTuple):
    """Where the crops of a batch lie: `slices` (B,), places in `BatchSource.slices`, and what they show of them."""

    slices: Tensor
    geometry: Geometry


class _Windows(NamedTuple):
    """Source windows: `image` (B, C, h, w), `label` (B, h, w), a class, IGNORE or BEYOND, `valid` (B, h, w); `corner`
    (B, 2), their first pixels (x, y) in their slices; `strokes`, a slice's foreground strokes each, (N, 2) as (row,
    column)."""

    image: Tensor
    label: Tensor
    valid: Tensor
    corner: Tensor
    strokes: list[NDArray[np.int64]]


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
    """Draws crops of annotated slices. Every epoch visits each such slice once, in a seeded order.

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
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.cases, self.plan, self.augment, self.train, self.seed = cases, plan, augment, train, seed
        size = plan.batch // world
        self.share = slice(rank * size, (rank + 1) * size)
        self.slices = [
            (case, index)
            for case in range(len(cases))
            for index in range(cases[case].label.shape[0])
            if (cases[case].label[index] != IGNORE).any()
        ]
        self.present = np.ones((len(self.slices), len(plan.classes)), bool)
        self.rings: list[Ring | None] = [None] * len(self.slices)
        for place, (case, index) in enumerate(self.slices):
            strokes = np.asarray(cases[case].label[index])
            if plan.complete_strokes:
                self.present[place, 1:] = np.bincount(strokes.ravel(), minlength=256)[1 : len(plan.classes)] > 0
            if plan.rings:
                self.rings[place] = find_ring(strokes, plan.spacing)
        if not self.slices:
            raise InputError("no slice carries a scribble at the plan's spacing, expected at least one annotated pixel")
        # The window must hold a rotated, shrunk crop: what lies in the slice then is real, not filled in.
        reach = math.hypot(*plan.crop) / min(plan.crop) if (augment.rotation or augment.right_angles) else 1.0
        factor = min(reach, 1.35) * (1 + augment.stretch) / (1 - augment.scale)
        self.window = tuple(2 * math.ceil(side * factor / 2) for side in plan.crop)

    def batch(self, step: int) -> Batch:
        """The rank's share of the augmented batch of a training step."""
        chosen = self._chosen(step)
        windows = self._windows(chosen, self._random(CROPS, step), self.share)
        generator = torch.Generator().manual_seed(int(self._random(CHANCE, step).integers(2**62)))
        chance = draw(self.augment, self.plan.batch, generator).share(self.share)
        batch = self._cut(windows, chosen[self.share], self._drawn_geometry(windows, chance))
        return replace(batch, image=shade(chance, batch.image, batch.valid))

    def plain_batch(self, index: int) -> Batch:
        """A batch without augmentation, for batch-norm statistics; numbered apart from the training steps.

        It is whole on every rank, so that all get the same statistics.
        """
        chosen = self._chosen(index)
        windows = self._windows(chosen, self._random(PLAIN, index), slice(None))
        count = len(chosen)
        still, one = torch.zeros(count, 2, CONTROL, CONTROL), torch.ones(count)
        frame = self._frame(windows, torch.eye(2).expand(count, 2, 2))
        return self._cut(windows, chosen, Geometry(still, frame, torch.zeros(count, 2), one, one))

    def image(self, place: int) -> NDArray[np.float16]:
        """(C, H, W) of a training slice."""
        case, index = self.slices[place]
        return self.cases[case].image[index]

    def strokes(self, place: int) -> NDArray[np.uint8]:
        """(H, W) scribble of a training slice, 0..K-1 or IGNORE."""
        case, index = self.slices[place]
        return self.cases[case].label[index]

    def dense(self, place: int) -> NDArray[np.uint8]:
        """(H, W) dense label of a training slice, where the cases were opened with theirs."""
        case, index = self.slices[place]
        dense = self.cases[case].dense
        assert dense is not None
        return dense[index]

    def _drawn_geometry(self, windows: _Windows, chance: Draw) -> Geometry:
        """What the crops show as it was drawn; a slice without foreground strokes has nothing to swell round."""
        centre, swell = torch.zeros(len(windows.strokes), 2), chance.swell.clone()
        for item, strokes in enumerate(windows.strokes):
            if len(strokes):
                row, column = strokes[int(float(chance.near[item]) * len(strokes))]
                centre[item] = torch.tensor([column, row])
            else:
                swell[item] = 1
        reach = chance.reach * min(self.plan.crop)
        return Geometry(chance.bend, self._frame(windows, chance.matrix), centre, swell, reach)

    def _frame(self, windows: _Windows, matrix: Tensor) -> Tensor:
        """(B, 2, 3): the crops' centres are the windows'; `matrix` (B, 2, 2) as in `Draw`."""
        middle = (torch.tensor([self.plan.crop[1], self.plan.crop[0]]) - 1) / 2
        window = (torch.tensor([self.window[1], self.window[0]]) - 1) / 2
        return torch.cat([matrix, (windows.corner + window - matrix @ middle)[:, :, None]], dim=2)

    def _cut(self, windows: _Windows, chosen: Sequence[int], geometry: Geometry) -> Batch:
        positions = geometry.positions(self.plan.crop) - windows.corner[:, None, None]
        image, label, inside = warp(positions, windows.image, windows.label, windows.valid)
        scribble, possible = self._ruled_out(label, chosen)
        return Batch(image, scribble, inside, possible, Origin(torch.tensor(chosen), geometry))

    def _ruled_out(self, label: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scribble (B, H, W) and possible classes (B, K, H, W) of warped labels."""
        beyond_ring = label == BEYOND
        possible = torch.from_numpy(self.present[chosen])[:, :, None, None] & ~beyond_ring[:, None]
        possible[:, 0] = True
        return torch.where(beyond_ring, IGNORE, label), possible

    def _random(self, stream: int, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, stream, counter])))

    def _chosen(self, step: int) -> list[int]:
        """Indices of a step's slices: consecutive places in an endless row of shuffled epochs."""
        size, first = len(self.slices), step * self.plan.batch
        epochs: dict[int, NDArray[np.int64]] = {}
        chosen = []
        for place in range(first, first + self.plan.batch):
            epoch, offset = divmod(place, size)
            if epoch not in epochs:
                epochs[epoch] = self._random(ORDER, epoch).permutation(size)
            chosen.append(int(epochs[epoch][offset]))
        return chosen

    def _windows(self, chosen: Sequence[int], random: np.random.Generator, share: slice) -> _Windows:
        """Windows round the crops' centres. Chance is drawn for all of `chosen`, windows are cut for the `share`."""
        chances = [_CropChance.drawn(random) for _ in chosen][share]
        chosen = chosen[share]
        batch, (height, width) = len(chosen), self.window
        image = np.zeros((batch, len(self.plan.channels), height, width), np.float32)
        label = np.full((batch, height, width), IGNORE, np.int64)
        valid = np.zeros((batch, height, width), bool)
        corner = np.zeros((batch, 2), np.float32)
        foreground = []
        for item, (place, chance) in enumerate(zip(chosen, chances, strict=True)):
            pixels, strokes = self.image(place), self.strokes(place)
            foreground.append(np.argwhere((strokes > 0) & (strokes != IGNORE)))
            centre = self._centre(foreground[-1], strokes.shape, chance)
            corner[item] = centre[1] - width // 2, centre[0] - height // 2
            target, source = _overlap(centre, (height, width), strokes.shape)
            image[(item, slice(None), *target)] = pixels[(slice(None), *source)]
            label[(item, *target)] = strokes[source]
            ring = self.rings[place]
            if ring is not None:
                outside = beyond(ring, *source, self.plan.spacing)
                label[(item, *target)][outside & (strokes[source] == IGNORE)] = BEYOND
            valid[(item, *target)] = True
        from_numpy = torch.from_numpy
        return _Windows(from_numpy(image), from_numpy(label), from_numpy(valid), from_numpy(corner), foreground)

    def _centre(self, foreground: NDArray[np.int64], shape: tuple[int, ...], chance: _CropChance) -> tuple[int, int]:
        """Centre of a crop: near a foreground stroke, (N, 2) pixels, else anywhere the crop stays within the slice."""
        anywhere = tuple(
            round(side / 2 + fraction * (size - side)) if size > side else size // 2
            for fraction, size, side in zip(chance.free, shape, self.plan.crop, strict=True)
        )
        if len(foreground) == 0 or chance.near >= self.train.foreground:
            return anywhere[0], anywhere[1]
        pick = foreground[int(chance.where * len(foreground))].tolist()
        centre = []
        for position, size, side, shift in zip(pick, shape, self.plan.crop, chance.jitter, strict=True):
            wanted = position + shift * side
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
    """(step, batch) for every step, made by a thread a few steps ahead; order and content do not depend on timing.

    The thread computes alone: on all cores it would make the training threads wait at each of its small loops.
    """
    ready: queue.Queue[tuple[int, Batch] | BaseException] = queue.Queue(maxsize=ahead)
    closed, alone = threading.Event(), threading.Event()
    cores = torch.get_num_threads()

    def put(item: tuple[int, Batch] | BaseException) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        torch.get_num_threads()  # a thread that has never asked takes, at its first large tensor, what another set last
        torch.set_num_threads(1)  # of this thread, and of threads begun from now on
        alone.set()
        try:
            for step in range(start, stop):
                if not put((step, source.batch(step))):
                    return
        except BaseException as error:
            put(error)

    worker = threading.Thread(target=work, daemon=True, name="prefetch")
    worker.start()
    alone.wait()
    torch.set_num_threads(cores)
    try:
        for _ in range(start, stop):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        worker.join()
