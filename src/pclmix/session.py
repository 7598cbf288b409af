"""The moving parts of a run and how one step moves them: network, optimiser, average, method, data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pclmix import distributed
from pclmix.averaging import AveragedWeights
from pclmix.compare.base import Losses, Method
from pclmix.config import OptimizerSettings, Plan, Settings
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.cache import CachedCase
from pclmix.network.arithmetic import native_dtype
from pclmix.network.dual import SegmentationNet


@dataclass
class Session:
    """`net` is what Fabric wraps, `module` the network inside it, `kept` the part of it that inference uses."""

    fabric: Fabric
    net: nn.Module
    module: nn.Module
    kept: SegmentationNet
    method: Method
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights
    source: BatchSource
    settings: Settings
    seed: int
    step: int = 0
    """Finished steps."""

    def advance(self, batch: Batch, progress: float) -> tuple[Losses, float]:
        """One training step at r = t/T; returns its losses and the learning rate used."""
        optimizer = self.optimizer
        rate = set_rate(optimizer, self.settings.optimizer, progress)
        torch.manual_seed(self._stream("network"))
        generator = torch.Generator().manual_seed(self._stream("method"))
        losses = self.method.losses(self.placed(batch), progress, generator)
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses.total)
        distributed.average_gradients(self.module)
        if self.settings.optimizer.clip_norm:
            # Not finite is no error here: the loop says so in a line, and the scaler of fp16 skips such steps.
            norm = self.settings.optimizer.clip_norm
            self.fabric.clip_gradients(self.net, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        self.method.after_step()
        self.averaged.update(self.kept, self.step)
        self.step += 1
        return losses, rate

    def _stream(self, purpose: str) -> int:
        """Seed of this step's random numbers: each rank has its own, the first those of a run of one process."""
        rank = distributed.rank()
        return step_seed(self.seed, self.step, f"{purpose}/{rank}" if rank else purpose)

    def panels(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The method's picture of the first samples of a batch, label maps as integers; moves nothing."""
        generator = torch.Generator().manual_seed(step_seed(self.seed, self.step, "picture"))
        panels = self.method.picture(self.placed(batch), progress, generator)
        first = {name: panel[:4].cpu() for name, panel in panels.items()}
        return {name: panel.float() if panel.is_floating_point() else panel for name, panel in first.items()}

    def placed(self, batch: Batch) -> Batch:
        """The batch on the device, images channels-last."""
        moved = batch.to(self.fabric.device)
        return replace(moved, image=moved.image.contiguous(memory_format=torch.channels_last))


def open_session(
    fabric: Fabric,
    method: type[Method],
    cases: list[CachedCase],
    plan: Plan,
    settings: Settings,
    seed: int,
    total: int,
    unlabelled: Sequence[CachedCase] = (),
) -> Session:
    """A session before its first of `total` steps; the same arguments give the same session, bit for bit, and every
    rank the same but for its share of the data. `unlabelled`: cases that nobody annotated."""
    torch.manual_seed(step_seed(seed, 0, "weights"))
    module = method.network(plan).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net, optimizer = fabric.setup(module, _optimizer(module, settings.optimizer))
    kept = method.segmenter(module)
    rank, world = distributed.rank(), distributed.world()
    since = method.unlabelled_since(settings)
    source = BatchSource(
        cases,
        plan,
        settings.augment,
        settings.train,
        seed,
        unlabelled=None if since is None else unlabelled,
        since=round((since or 0) * total),
        rank=rank,
        world=world,
    )
    made = method(net, plan, method.own(settings))
    made.prepare(source)
    return Session(
        fabric=fabric,
        net=net,
        module=module,
        kept=kept,
        method=made,
        optimizer=optimizer,
        averaged=AveragedWeights(kept, settings.train.ema * total),
        source=source,
        settings=settings,
        seed=seed,
    )


def set_rate(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, progress: float) -> float:
    """Set and return the learning rate at r = t/T: linear warm-up, then (1 - r)^power."""
    warm = min(1.0, (progress + 1e-3) / settings.warmup) if settings.warmup else 1.0
    rate = settings.rate * warm * (1 - progress) ** settings.power
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def step_seed(seed: int, step: int, purpose: str) -> int:
    """A 63-bit seed that is a function of the run's seed, the step and what it is for."""
    digest = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    weights = module.parameters()
    shared: dict[str, Any] = {"lr": settings.rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.name == "sgd":
        return torch.optim.SGD(weights, momentum=settings.momentum, **shared)
    return torch.optim.AdamW(weights, **shared)


def precision(settings: Settings) -> str:
    """Fabric's name of the arithmetic: bf16 where the device multiplies it faster than fp32."""
    if settings.train.precision != "auto":
        return settings.train.precision
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if native_dtype(device) is torch.bfloat16:
        return "bf16-mixed"
    return "16-mixed" if device.type == "cuda" else "32-true"
