"""Training batches as a pure function of (seed, step), so that a resume needs nothing but the step number."""

import threading
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pclmix.config import AugmentSettings, Plan, TrainSettings
from pclmix.data.augment import CONTROL, Draw, Geometry, draw, shade, warp, window_sides
from pclmix.data.cache import CachedCase
from pclmix.data.draws import CHANCE, CROPS, STATISTICS, Pick, SliceRow, random_numbers
from pclmix.data.kinds import KINDS, SliceKind
from pclmix.data.placing import CropChance, brought, crop_centre, foreground_pixels, overlap
from pclmix.data.strokes import Ring, beyond, find_ring
from pclmix.errors import InputError
from pclmix.labels import IGNORE

BEYOND = 254
"""Label of a pixel beyond its slice's ring, within this file only: it is warped like the others, then taken apart."""

AHEAD = 4
"""Batches that lie ready at most, besides those in the making."""


class Origin(NamedTuple):
    """Where the crops of a batch lie: `slices` (B,), places in `BatchSource.slices`, and what they show of them."""

    slices: Tensor
    geometry: Geometry


class _Windows(NamedTuple):
    """Source windows: `image` (B, C, h, w); `marks` (B, h, w), a class, IGNORE or BEYOND, + 1, and 0 where nothing was
    imaged; `corner` (B, 2), their first pixels (x, y) in their slices; `strokes`, a slice's foreground strokes each,
    (N, 2) as (row, column)."""

    image: Tensor
    marks: Tensor
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


class BatchSource:
    """Draws crops of annotated slices, and of unlabelled ones for a method that uses those (`SliceRow`).

    `slices` holds (case, index) of the annotated slices, then of the unlabelled ones; `kinds` the kind of each.
    `unlabelled`: cases that nobody annotated, or None where the method makes no use of unlabelled slices. In those
    everything is possible. They are drawn from step `since` on, at most `train.unlabelled` of what is drawn then and
    never a larger share of it than of all slices, so none is seen more often than an annotated one.

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
        since: int = 0,
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
        self.row = SliceRow(seed, annotated, left, min(train.unlabelled, left / len(self.slices)), since * plan.batch)
        self.kinds: list[SliceKind] = ["unlabelled"] * len(self.slices)
        self.present = np.ones((len(self.slices), len(plan.classes)), bool)
        self.rings: list[Ring | None] = [None] * len(self.slices)
        for place, (case, index) in enumerate(self.slices[:annotated]):
            strokes = np.asarray(self.strokes(place))
            kind = self.kinds[place] = cases[case].kind(index)
            if plan.complete_strokes and kind != "point":
                self.present[place, 1:] = np.bincount(strokes.ravel(), minlength=256)[1 : len(plan.classes)] > 0
            if plan.rings and kind == "scribble":
                self.rings[place] = find_ring(strokes, plan.spacing)
        self.held = [kind for kind in KINDS if kind in self.kinds]
        self.window = window_sides(plan.crop, augment)

    def batch(self, step: int) -> Batch:
        """The rank's share of the augmented batch of a training step."""
        chosen = self.row.take(step * self.plan.batch, self.plan.batch)
        windows = self._windows(chosen, random_numbers(self.seed, CROPS, step), self.share)
        generator = torch.Generator().manual_seed(int(random_numbers(self.seed, CHANCE, step).integers(2**62)))
        chance = draw(self.augment, self.plan.batch, generator).share(self.share)
        batch = self._cut(windows, chosen[self.share], self._drawn_geometry(windows, chance))
        return replace(batch, image=shade(chance, batch.image, batch.valid))

    def plain_batch(self, index: int) -> Batch:
        """A batch without augmentation, for batch-norm statistics; numbered apart from the training steps.

        It is whole on every rank, so that all get the same statistics, and of annotated slices alone.
        """
        chosen = self.plain_row.take(index * self.plan.batch, self.plan.batch)
        windows = self._windows(chosen, random_numbers(self.seed, STATISTICS, index), slice(None))
        count = len(chosen)
        still, one = torch.zeros(count, 2, CONTROL, CONTROL), torch.ones(count)
        frame = self._frame(windows, torch.eye(2).expand(count, 2, 2))
        return self._cut(windows, chosen, Geometry(still, frame, torch.zeros(count, 2), one, one))

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

    def places_by_case(self) -> dict[int, list[int]]:
        """Places of the training slices of each case, by its number in `cases`."""
        places: dict[int, list[int]] = {}
        for place, (case, _) in enumerate(self.slices):
            places.setdefault(case, []).append(place)
        return places

    def possible(self, place: int) -> NDArray[np.bool_]:
        """(K, H, W) of a training slice: false where its strokes elsewhere rule out a class."""
        shape = self.strokes(place).shape
        out = np.repeat(self.present[place], np.prod(shape)).reshape(-1, *shape)
        ring = self.rings[place]
        if ring is not None:
            out[1:] &= ~beyond(ring, slice(0, shape[0]), slice(0, shape[1]))
        return out

    def dense(self, place: int) -> NDArray[np.uint8]:
        """(H, W) dense label of a training slice, where the cases were opened with theirs; of an unlabelled slice all
        IGNORE."""
        if self.kinds[place] == "unlabelled":
            return self.strokes(place)
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
        return torch.cat([matrix, (windows.corner + window - (matrix * middle).sum(dim=2))[:, :, None]], dim=2)

    def _cut(self, windows: _Windows, chosen: Sequence[Pick], geometry: Geometry) -> Batch:
        positions = geometry.positions(self.plan.crop) - windows.corner[:, None, None]
        image, label, inside = warp(positions, windows.image, windows.marks)
        places = [pick.place for pick in chosen]
        scribble, possible = self._ruled_out(label, places)
        return Batch(image, scribble, inside, possible, Origin(torch.tensor(places), geometry))

    def _ruled_out(self, label: Tensor, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scribble (B, H, W) and possible classes (B, K, H, W) of warped labels."""
        beyond_ring = label == BEYOND
        possible = torch.from_numpy(self.present[places])[:, :, None, None] & ~beyond_ring[:, None]
        possible[:, 0] = True
        return torch.where(beyond_ring, IGNORE, label), possible

    def _windows(self, chosen: Sequence[Pick], random: np.random.Generator, share: slice) -> _Windows:
        """Windows round the crops' centres. Chance is drawn for all of `chosen`, windows are cut for the `share`."""
        chances = [CropChance.drawn(random) for _ in chosen][share]
        chosen = chosen[share]
        batch, (height, width) = len(chosen), self.window
        image = np.zeros((batch, len(self.plan.channels), height, width), np.float32)
        marks = np.zeros((batch, height, width), np.float32)
        corner = np.zeros((batch, 2), np.float32)
        foreground = []
        for item, ((place, guide), chance) in enumerate(zip(chosen, chances, strict=True)):
            pixels, strokes = self.image(place), self.strokes(place)
            foreground.append(foreground_pixels(strokes))
            near = foreground[-1] if guide == place else brought(self.strokes(guide), strokes.shape)
            centre = crop_centre(near, strokes.shape, self.plan.crop, self.train.foreground, chance)
            corner[item] = centre[1] - width // 2, centre[0] - height // 2
            target, source = overlap(centre, (height, width), strokes.shape)
            image[(item, slice(None), *target)] = pixels[(slice(None), *source)]
            seen = np.array(strokes[source])
            ring = self.rings[place]
            if ring is not None:
                seen[beyond(ring, *source) & (seen == IGNORE)] = BEYOND
            marks[(item, *target)] = seen
            marks[(item, *target)] += 1
        from_numpy = torch.from_numpy
        return _Windows(from_numpy(image), from_numpy(marks), from_numpy(corner), foreground)


def prefetch(source: BatchSource, start: int, stop: int, threads: int = 1) -> Generator[tuple[int, Batch]]:
    """(step, batch) for every step, made by threads a few steps ahead; order and content do not depend on timing.

    Each thread computes alone: on all cores it would make the training threads wait at each of its small loops.
    """
    cores, begun = torch.get_num_threads(), threading.Barrier(threads + 1)

    def alone() -> None:
        torch.get_num_threads()  # a thread that has never asked takes, at its first large tensor, what another set last
        torch.set_num_threads(1)  # of this thread, and of threads begun from now on

    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch", initializer=alone)
    try:
        for _ in range(threads):
            pool.submit(begun.wait)
        begun.wait()
        torch.set_num_threads(cores)
        ahead: deque[Future[Batch]] = deque()
        for step in range(start, stop):
            while len(ahead) < AHEAD + threads and step + len(ahead) < stop:
                ahead.append(pool.submit(source.batch, step + len(ahead)))
            yield step, ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
