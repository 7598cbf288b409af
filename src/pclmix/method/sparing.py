"""PCLMix where strokes say enough: one decoder, the strokes, what they rule out, and labels of its own from there."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from pclmix.compare.base import Learnt, Losses, Method
from pclmix.compare.soft_dice import soft_dice_loss
from pclmix.config import PCLMixSettings, Plan
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_labels
from pclmix.method.own_labels import Label, expected_seconds, own_labels
from pclmix.method.supervision import absence_loss, partial_cross_entropy, rule_out
from pclmix.method.uncertainty import most_likely


class SparingPCLMix(Method):
    """M5 and our absence loss on the encoder and its CNN decoder; then, for the rest of the run, cross entropy and Dice
    on labels that its averaged weights give the training slices (`own_labels`).

    Ours, for strokes that are complete and make rings: there the published parts cost more than they bring
    (docs/experiments.md)."""

    name = "pclmix"
    summary = "strokes, what they rule out, and own labels drawn to the images' edges, without the published parts"
    citation = "M5 of Lei et al., PCLMix, arXiv 2405.06288, ICIC 2024"
    heeds_absence = True
    OwnSettings = PCLMixSettings
    settings: PCLMixSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: PCLMixSettings) -> None:
        super().__init__(net, plan, settings)
        self.source: BatchSource | None = None
        self.labels: list[Label] = []
        """Its own, of each training slice by its place; none before they are made."""

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

    def seconds_besides(self, begun: Learnt) -> float:
        """The own labels, where there will be any."""
        assert self.source is not None
        return expected_seconds(begun, self.source) if self.settings.own_labels < 1 else 0.0

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 + weight times the absence loss; once there are own labels, cross entropy + Dice on those."""
        logits = self.net(batch.image)
        if self.labels:
            target = crop_labels(self.labels, batch)
            supervised = partial_cross_entropy(logits, target, batch.valid)
            weight, other, name = 1.0, soft_dice_loss(logits, target, batch.valid), "dice"
        else:
            supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
            weight, name = self.settings.absence, "absent"
            other = absence_loss(logits, batch.possible, batch.valid)
        # The log's rows may lie on both sides of the change, so all of them have the same terms.
        terms = {"supervised": supervised.detach(), "absent": torch.zeros(()), "dice": torch.zeros(())}
        return Losses(supervised + weight * other, terms | {name: other.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, prediction, and the prediction among what the strokes leave possible, or the own label."""
        logits = self.net(batch.image)
        panels = {"image": batch.image, "scribble": batch.scribble, "prediction": most_likely(logits)}
        if self.labels:
            return panels | {"own label": torch.where(batch.valid, crop_labels(self.labels, batch), 0)}
        return panels | {"possible prediction": most_likely(rule_out(logits, batch.possible))}

    def state_dict(self) -> dict[str, Tensor]:
        """The own labels, compressed: all pixels of all slices in a row."""
        if not self.labels:
            return {}
        packed = zlib.compress(b"".join(label.tobytes() for label in self.labels), level=1)
        return {"labels": torch.frombuffer(bytearray(packed), dtype=torch.uint8)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the labels of the slices that `prepare` was shown."""
        if not state:
            return
        assert self.source is not None
        pixels = np.frombuffer(zlib.decompress(state["labels"].numpy().tobytes()), np.uint8)
        shapes = [self.source.strokes(place).shape for place in range(len(self.source.slices))]
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        parts = np.split(pixels, ends[:-1])
        self.labels = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
