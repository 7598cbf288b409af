"""Uncertainty-aware self-ensembling with transformation consistency (Liu et al., Pattern Recognition 2022)."""

import copy

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pclmix.compare.base import Losses, Method
from pclmix.config import Plan, Tree
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.schedule import ramp
from pclmix.method.supervision import partial_cross_entropy
from pclmix.method.uncertainty import entropy, entropy_threshold

PIXELS_AT_ONCE = 2**21
"""Most pixels of noisy copies that go through the teacher together, so that memory does not grow with the passes."""


class USTMSettings(Tree):
    """Published setting."""

    weight: float = Field(0.1, ge=0)
    """Weight of the consistency at the end of its ramp."""
    decay: float = Field(0.99, ge=0, lt=1)
    """Of the teacher's moving average, from when that is longer than the training so far."""
    passes: int = Field(8, ge=1)
    """Noisy teacher passes over which the uncertainty is taken."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the noise, in those of the image; cut at twice that."""


class USTM(Method):
    """pCE(z, s) + w · mean over reliable pixels of ‖rot(p_student(x)) - p_teacher(rot(x) + noise)‖².

    The teacher is a moving average of the student's parameters. Its batch norm always goes by the statistics of its
    batch, as in the published experiment, so it has no running statistics to keep. One rotation a step turns the whole
    batch. Ours, where the source leaves it open or the published experiment is tied to one length of training: w rises
    as ramp(r) over all of the training, and the norm sums over classes (the published code halves that sum).
    """

    name = "ustm"
    summary = "mean teacher: agreement under rotation and noise where the teacher is certain"
    citation = "Liu et al., Weakly Supervised Segmentation of COVID19 Infection with Scribbles, Patt. Recog. 2022"
    OwnSettings = USTMSettings
    settings: USTMSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: USTMSettings) -> None:
        super().__init__(net, plan, settings)
        self.teacher = teacher_of(net)
        self.updates = 0

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M5 and the weighted consistency."""
        logits = self.net(batch.image)
        supervised = partial_cross_entropy(logits, batch.scribble, batch.valid)
        turns = draw_turns(batch.image.shape[-2], batch.image.shape[-1], generator)
        target, mean = self._teach(turned(batch.image, turns), generator)
        reliable = turned(batch.valid, turns) & (entropy(mean) < entropy_threshold(progress, mean.shape[1]))
        consistency = squared_difference(turned(logits.softmax(dim=1), turns), target, reliable)
        total = supervised + self.settings.weight * ramp(progress) * consistency
        return Losses(total, {"supervised": supervised.detach(), "consistency": consistency.detach()})

    @torch.no_grad()
    def _teach(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The teacher's probabilities (B, K, H, W) of one noisy copy, and their mean over `passes` others."""
        passes, std = self.settings.passes, self.settings.noise
        target: Tensor = self.teacher(noisy(image, std, generator)).softmax(dim=1)
        at_once = max(1, min(passes, PIXELS_AT_ONCE // (image.shape[0] * image.shape[-2] * image.shape[-1])))
        total = torch.zeros_like(target)
        for first in range(0, passes, at_once):
            copies = image.repeat(min(at_once, passes - first), 1, 1, 1)
            probability = self.teacher(noisy(copies, std, generator)).softmax(dim=1)
            total += probability.unflatten(0, (-1, image.shape[0])).sum(dim=0)
        return target, total / passes

    @torch.no_grad()
    def after_step(self) -> None:
        """The teacher follows the student: a true average at first, then an exponential one."""
        decay = min(1 - 1 / (self.updates + 1), self.settings.decay)
        teacher: list[Tensor] = list(self.teacher.parameters())
        student: list[Tensor] = list(self.net.parameters())
        torch._foreach_lerp_(teacher, student, 1 - decay)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The teacher's parameters and how often it was moved."""
        weights = {f"teacher.{name}": value for name, value in self.teacher.state_dict().items()}
        return {**weights, "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher."""
        weights = {name.removeprefix("teacher."): value for name, value in state.items() if name != "updates"}
        self.teacher.load_state_dict(weights)
        self.updates = int(state["updates"])

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What the teacher is certain of, without a rotation, and the student's prediction."""
        target, mean = self._teach(batch.image, generator)
        uncertainty = entropy(mean)
        reliable = batch.valid & (uncertainty < entropy_threshold(progress, mean.shape[1]))
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "teacher where reliable": torch.where(reliable, target.argmax(dim=1), IGNORE),
            "uncertainty": uncertainty,
            "prediction": self.net(batch.image).argmax(dim=1),
        }


def teacher_of(net: nn.Module) -> nn.Module:
    """A copy of `net`, its wrapper for precision included, that takes no gradient and whose batch norm has no running
    statistics."""
    teacher = copy.deepcopy(net).requires_grad_(False)
    for module in teacher.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return teacher


def draw_turns(height: int, width: int, generator: torch.Generator) -> int:
    """Quarter turns: 0 to 3 for a square, 0 or 2 where a quarter would change the shape."""
    if height == width:
        return int(torch.randint(4, (1,), generator=generator))
    return 2 * int(torch.randint(2, (1,), generator=generator))


def turned(values: Tensor, turns: int) -> Tensor:
    """(..., H, W) by quarter turns."""
    return torch.rot90(values, turns, (-2, -1))


def noisy(image: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """`image` (B, C, H, W) with Gaussian noise of `std`, cut at twice that."""
    noise = std * torch.randn(image.shape, generator=generator).clamp(-2, 2)
    return (image + noise.to(image.device)).contiguous(memory_format=torch.channels_last)


def squared_difference(student: Tensor, teacher: Tensor, reliable: Tensor) -> Tensor:
    """Mean over the reliable pixels of ‖p_student - p_teacher‖²: 2 x (B, K, H, W), (B, H, W) bool -> scalar."""
    squares = (student - teacher).square().sum(dim=1)
    return (squares * reliable).sum() / reliable.sum().clamp_min(1)
