"""PCLMix where strokes say enough: no second decoder, but labels that averaged weights give (docs/equations.md)."""

import math

import torch
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.compare.soft_dice import soft_dice_loss
from pclmix.config import PCLMixSettings, Plan
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.crops import crop_labels
from pclmix.method.supervision import absence_loss, partial_cross_entropy
from pclmix.method.teacher import Teacher
from pclmix.method.uncertainty import most_likely


class SparingPCLMix(Method):
    """M5 and our absence loss; from r = `taught` on also CE and soft Dice against the teacher's labels.

    Ours, for strokes that are complete and make rings: there mix, contrast, consistency and the second decoder cost
    more than they bring (docs/experiments.md).
    """

    name = "pclmix"
    summary = "strokes, what they rule out, and labels by averaged weights"
    citation = "Lei et al., PCLMix, arXiv 2405.06288, ICIC 2024, less its parts"
    heeds_absence = True
    OwnSettings = PCLMixSettings
    settings: PCLMixSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: PCLMixSettings) -> None:
        super().__init__(net, plan, settings)
        self.teacher: Teacher | None = None

    def prepare(self, source: BatchSource) -> None:
        """Make room for the labels."""
        self.teacher = Teacher(source, self.plan)

    def before_step(self, averaged: nn.Module, progress: float) -> None:
        """Give the lesson that is due."""
        assert self.teacher is not None, "prepare comes first"
        if lessons_due(progress, self.settings) > self.teacher.lessons:
            self.teacher.teach(averaged, progress)

    def seconds_besides(self) -> float:
        """All lessons."""
        assert self.teacher is not None, "prepare comes first"
        lessons = lessons_due(1.0, self.settings)
        return lessons * self.teacher.seconds(next(self.net.parameters()).device) if lessons else 0.0

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """Equal weights of all terms but the absence's, at r = t/T."""
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        absent = absence_loss(logits, batch.possible, batch.valid)
        total = supervised + self.settings.absence * absent
        terms = {"supervised": supervised, "absent": absent}
        if lessons_due(progress, self.settings):
            label = self._taught(batch)
            taught = partial_cross_entropy(logits, label, batch.valid)
            dice = soft_dice_loss(logits, label, batch.valid)
            total = total + taught + dice
            terms |= {"taught": taught, "dice": dice}
        return Losses(total, {name: term.detach() for name, term in terms.items()})

    def _taught(self, batch: Batch) -> Tensor:
        assert self.teacher is not None, "prepare comes first"
        return crop_labels(self.teacher.labels, batch)

    def state_dict(self) -> dict[str, Tensor]:
        """The teacher's."""
        return self.teacher.state_dict() if self.teacher else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher, and the labels by its weights."""
        assert self.teacher is not None, "prepare comes first"
        self.teacher.load_state_dict(state, next(self.net.parameters()).device)

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, the teacher's label (IGNORE before the first lesson) and prediction."""
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "taught label": self._taught(batch),
            "prediction": most_likely(self.net(batch.image)),
        }


def lessons_due(progress: float, settings: PCLMixSettings) -> int:
    """Lessons up to r = t/T: the first at `taught`, all at equal distances, none at the end."""
    if progress < settings.taught or settings.taught == 1:
        return 0
    passed = (progress - settings.taught) / (1 - settings.taught) * settings.lessons
    return min(settings.lessons, 1 + math.floor(passed + 1e-6))
