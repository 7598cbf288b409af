"""What every method is to the training loop: a network, a loss, a state of its own, and a picture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from pclmix.config import ClassGroup, Plan, Settings, Tree, validated
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.folder import Case, Dataset
from pclmix.network.dual import SegmentationNet, kept_for_inference, pretrained_segmentation_net
from pclmix.presets import METHOD_PRESETS


class Losses(NamedTuple):
    """The loss to minimise, and its terms for the logs (detached scalars)."""

    total: Tensor
    terms: dict[str, Tensor]


class Learnt(NamedTuple):
    """What a run has learnt so far: the averaged network, ready for inference on `device`, and the groups of classes of
    which the largest piece counts. `cases` are those of `dataset` that are trained on, unlabelled ones last."""

    net: nn.Module
    device: torch.device
    components: tuple[ClassGroup, ...]
    dataset: Dataset
    cases: Sequence[Case]


class NoSettings(Tree):
    """Of a method that has nothing to set."""


class Method(ABC):
    """A way to learn from scribbles. `net` is called, so it may be wrapped for devices and precision.

    `settings` is an instance of the class's `OwnSettings`, the method's own table (`--set method.NAME=VALUE`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    citation: ClassVar[str]
    OwnSettings: ClassVar[type[Tree]] = NoSettings
    settings: Tree
    needs_dense: ClassVar[bool] = False
    """Whether it learns from the dense labels of the training cases, as only the upper bound may."""
    heeds_absence: ClassVar[bool] = False
    """Whether `Batch.possible`, what the strokes rule out, takes part in its loss."""

    def __init__(self, net: nn.Module, plan: Plan, settings: Tree) -> None:
        self.net, self.plan, self.settings = net, plan, settings

    @classmethod
    def own(cls, settings: Settings) -> Tree:
        """The method's own table of the run's settings. Raises `InputError` for an unknown name or value."""
        values = METHOD_PRESETS.get((settings.preset, cls.name), {}) | settings.method
        return validated(cls.OwnSettings, values, f"settings of method {cls.name}")

    @classmethod
    def configured(cls, settings: Settings) -> Settings:
        """The run's settings with the method's own table complete, as they are saved."""
        return settings.model_copy(update={"method": cls.own(settings).model_dump()})

    @classmethod
    def in_force(cls, settings: Settings) -> type["Method"]:
        """What trains under these settings: the method itself, unless it takes another form there."""
        return cls

    @classmethod
    def unlabelled_since(cls, settings: Settings) -> float | None:
        """Fraction of the training after which it learns from slices without any annotation, too; None where it never
        does, so that it is never given one."""
        return None

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """The network that is trained: encoder and CNN decoder, unless a method needs another."""
        return pretrained_segmentation_net(plan)

    @abstractmethod
    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """Losses of a batch at r = t/T; every random choice comes from `generator` (CPU)."""

    @abstractmethod
    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What the method sees of a batch, for pictures: images (B, C, H, W), labels and maps (B, H, W)."""

    def prepare(self, source: BatchSource) -> None:
        """Look at the training slices once, before the first step (also of a resume)."""

    def seconds_besides(self, begun: Learnt) -> float:
        """What a run spends on the method besides its steps, estimated; taken off the minutes that are given. `begun`:
        the network before its first steps."""
        return 0.0

    def pause_at(self, total: int) -> int | None:
        """The step of `total` before which the method is to see what the network has learnt (`look_back`), if any."""
        return None

    def look_back(self, learnt: Learnt) -> None:
        """Make use of what the run has learnt so far; what is kept of it belongs to `state_dict`."""

    def rehearse(self) -> None:
        """Take the form that steps have after `look_back`, with nothing learnt, so that they can be timed."""

    def after_step(self) -> None:
        """Move the method's own state after an optimiser step."""

    def state_dict(self) -> dict[str, Tensor]:
        """The method's own state, tensors only."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""

    @staticmethod
    def segmenter(net: nn.Module) -> SegmentationNet:
        """The part of the unwrapped network that inference keeps."""
        return kept_for_inference(net)

    @torch.no_grad()
    def picture(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """`panels` with the network in eval mode, so that looking changes nothing."""
        training = self.net.training
        self.net.eval()
        try:
            return self.panels(batch, progress, generator)
        finally:
            self.net.train(training)
