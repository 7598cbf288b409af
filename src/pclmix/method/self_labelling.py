"""A method that learns from labels of its own for the last part of a run; ours, not the paper's."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from pclmix.compare.base import Learnt, Losses, Method
from pclmix.compare.soft_dice import cross_entropy_and_dice
from pclmix.config import PCLMixSettings, Plan, Settings
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_labels
from pclmix.method.own_labels import Label, expected_seconds, own_labels


class SelfLabelling(Method):
    """After `settings.own_labels` of the steps the averaged weights label the training slices (`own_labels`); `labels`
    holds them from then on, and `learnt_from_labels` is the loss."""

    settings: PCLMixSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: PCLMixSettings) -> None:
        super().__init__(net, plan, settings)
        self.source: BatchSource | None = None
        self.labels: list[Label] = []
        """Its own, of each training slice by its place; none before they are made."""

    @classmethod
    def own(cls, settings: Settings) -> PCLMixSettings:
        """As of any method, of the type that both forms of PCLMix have."""
        own = super().own(settings)
        assert isinstance(own, PCLMixSettings)
        return own

    @classmethod
    def unlabelled_since(cls, settings: Settings) -> float | None:
        """Since they have own labels."""
        share = cls.own(settings).own_labels
        return share if share < 1 else None

    def prepare(self, source: BatchSource) -> None:
        """Keep the slices at hand, to label them later."""
        self.source = source

    def pause_at(self, total: int) -> int | None:
        """When the labels are made; never where `own_labels` is 1."""
        step = round(self.settings.own_labels * total)
        return step if step < total else None

    def look_back(self, learnt: Learnt) -> None:
        """Label the training slices."""
        assert self.source is not None
        self.labels = own_labels(learnt, self.source)

    def rehearse(self) -> None:
        """Labels that are the strokes."""
        assert self.source is not None
        self.labels = [self.source.strokes(place) for place in range(len(self.source.slices))]

    def seconds_besides(self, begun: Learnt) -> float:
        """The own labels, where there will be any."""
        assert self.source is not None
        return expected_seconds(begun, self.source) if self.settings.own_labels < 1 else 0.0

    def learnt_from_labels(self, logits: Tensor, batch: Batch) -> Losses:
        """Cross entropy + Dice on the own labels, as on dense ones: "supervised" and "dice"."""
        return cross_entropy_and_dice(logits, crop_labels(self.labels, batch), batch.valid)

    def label_panel(self, batch: Batch) -> Tensor:
        """The own labels of a batch (B, H, W), background where nothing was imaged."""
        return torch.where(batch.valid, crop_labels(self.labels, batch), 0)

    def state_dict(self) -> dict[str, Tensor]:
        """The own labels, compressed: all pixels of all slices in a row."""
        if not self.labels:
            return {}
        packed = zlib.compress(b"".join(label.tobytes() for label in self.labels), level=1)
        return {"labels": torch.frombuffer(bytearray(packed), dtype=torch.uint8)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the labels of the slices that `prepare` was shown."""
        if "labels" not in state:
            return
        assert self.source is not None
        pixels = np.frombuffer(zlib.decompress(state["labels"].numpy().tobytes()), np.uint8)
        shapes = [self.source.strokes(place).shape for place in range(len(self.source.slices))]
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        parts = np.split(pixels, ends[:-1])
        self.labels = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
