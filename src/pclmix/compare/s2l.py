"""Scribble2Label: pseudo labels from running averages of the predictions (Lee & Jeong, MICCAI 2020)."""

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from pclmix.compare.base import Learnt, Losses, Method
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_maps
from pclmix.infer import PIXELS_AT_ONCE, predict_slices
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy


class S2LSettings(Tree):
    """Published setting, its periods as fractions of T."""

    weight: float = Field(0.5, ge=0)
    """Of the loss on the pseudo labels."""
    confidence: float = Field(0.8, ge=0, le=1)
    """What the average of a class must pass for the pixel to be labelled with it."""
    share: float = Field(0.2, gt=0, le=1)
    """Of the newest prediction in the running average."""
    period: float = Field(1 / 60, gt=0, le=1)
    """Fraction of the training between two predictions; the first one comes after one period."""


class Scribble2Label(Method):
    """pCE(z, s) + 0.5 · CE on the unannotated pixels whose running average of predictions passes .8.

    The average is kept a pixel of every annotated training slice, in float16, and made of predictions of the whole
    slice without augmentation, in eval mode. Ours, where the source leaves it open: the average starts as the first
    prediction; it is brought to the augmented crop bilinearly before its largest class is compared; when a step crosses
    several periods at once, they count as one.
    """

    name = "s2l"
    summary = "pseudo labels where a running average of the predictions is confident"
    citation = "Lee & Jeong, Scribble2Label: Scribble-Supervised Cell Segmentation, MICCAI 2020"
    OwnSettings = S2LSettings
    settings: S2LSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: S2LSettings) -> None:
        super().__init__(net, plan, settings)
        self.source: BatchSource | None = None
        self.average: NDArray[np.float16] = np.zeros(0, np.float16)
        self.maps: list[NDArray[np.float16]] = []
        """Views of `average`: (K, h, w) a training slice, by place."""
        self.periods = 0
        """Periods that were over when the average was last moved; 0 before there is one."""

    def prepare(self, source: BatchSource) -> None:
        """Make room for an average a training slice."""
        shapes = [(len(self.plan.classes), *source.strokes(place).shape) for place in range(len(source.slices))]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        self.source, self.average = source, np.zeros(ends[-1], np.float16)
        self.maps = [part.reshape(shape) for part, shape in zip(np.split(self.average, ends[:-1]), shapes, strict=True)]

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the weighted pseudo label loss, after moving the averages if a period is over."""
        over = periods_over(progress, self.settings.period)
        if over > self.periods:
            self._move_averages(batch.image.device)
            self.periods = over
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        pseudo = partial_cross_entropy(logits, self._pseudo_label(batch), batch.valid)
        total = supervised + self.settings.weight * pseudo
        return Losses(total, {"supervised": supervised.detach(), "pseudo": pseudo.detach()})

    def _pseudo_label(self, batch: Batch) -> Tensor:
        if not self.periods:
            return torch.full_like(batch.scribble, IGNORE)
        return confident_label(crop_maps(self.maps, batch), batch.scribble, batch.valid, self.settings.confidence)

    def _move_averages(self, device: torch.device) -> None:
        """Predict every training slice and move its average; neither mode, statistics nor random state is touched."""
        share = self.settings.share if self.periods else 1.0
        for places in same_size_chunks([found.shape[1:] for found in self.maps], PIXELS_AT_ONCE):
            for place, prediction in zip(places, self._predict(places, device), strict=True):
                self.maps[place][:] = moved_average(self.maps[place], prediction, share)

    def _predict(self, places: list[int], device: torch.device) -> NDArray[np.float32]:
        """Probabilities (N, K, h, w) of training slices of one size."""
        assert self.source is not None, "prepare comes first"
        slices = np.stack([self.source.image(place) for place in places])
        training = self.net.training
        self.net.eval()
        try:
            return predict_slices(self.net, slices, device).numpy()
        finally:
            self.net.train(training)

    def seconds_besides(self, begun: Learnt) -> float:
        """All predictions of the training slices, by the time that some of them take."""
        places = same_size_chunks([found.shape[1:] for found in self.maps], PIXELS_AT_ONCE)[0][:8]
        start = time.perf_counter()
        self._predict(places, next(self.net.parameters()).device)
        share = sum(self.maps[place].size for place in places) / self.average.size
        return (time.perf_counter() - start) / share / self.settings.period

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, end to end, and the periods that are in them."""
        return {"average": torch.from_numpy(self.average), "periods": torch.tensor(self.periods)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the averages in place, where the maps look at them."""
        torch.from_numpy(self.average).copy_(state["average"])
        self.periods = int(state["periods"])

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The pseudo label, the largest class of the average, and the prediction."""
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "pseudo label": self._pseudo_label(batch),
            "averaged confidence": crop_maps(self.maps, batch).amax(dim=1),
            "prediction": self.net(batch.image).argmax(dim=1),
        }


def periods_over(progress: float, period: float) -> int:
    """Whole periods within r = t/T; the margin keeps a step that lies on the border from being rounded under it."""
    return math.floor(progress / period + 1e-6)


def moved_average(average: NDArray[np.float16], prediction: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """(1 - α) average + α prediction, α the share; of any one shape."""
    return np.float32(1 - share) * average.astype(np.float32) + np.float32(share) * prediction


def confident_label(average: Tensor, scribble: Tensor, valid: Tensor, confidence: float) -> Tensor:
    """Largest class of the average where that passes `confidence` on an unannotated valid pixel, else IGNORE.

    Shapes: (B, K, H, W), (B, H, W), (B, H, W) bool -> (B, H, W).
    """
    largest, label = average.max(dim=1)
    return torch.where(valid & (scribble == IGNORE) & (largest > confidence), label, IGNORE)


def same_size_chunks(sizes: list[tuple[int, ...]], pixels: int) -> list[list[int]]:
    """Every place once, in groups of one size (h, w) and of at most `pixels` pixels, or of one place."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place, size in enumerate(sizes):
        by_size.setdefault(size, []).append(place)
    chunks = []
    for size, places in by_size.items():
        count = max(1, pixels // math.prod(size))
        chunks += [places[start : start + count] for start in range(0, len(places), count)]
    return chunks
