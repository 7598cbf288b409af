"""PCLMix's training step against two bare forward and backward passes of its network.

Ours: `Session.advance` as training calls it, on a batch that lies in memory: batch to the device, both looks, the
losses M1-M9 with anchors and memory, one backward pass, clipping, optimiser, averaged weights.
Baseline: twice a forward pass of both decoders of the same network on the same batch in the same precision
(channels-last, no embedding), cross entropy of both decoders' logits with the same labels, and its backward pass; no
optimiser.

The batch is of phantom hearts at the preset's size, its strokes replaced by dense labels, so that as many anchors count
as in a network that has learnt; the memory holds keys. On a CPU the preset gpu has a batch of 4.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch.nn import functional

from benchmarks import material
from benchmarks.timing import Row, compare, seconds
from pclmix.config import make_settings
from pclmix.data.batches import Batch
from pclmix.data.cache import build_cache
from pclmix.data.crops import crop_labels
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import read_dataset
from pclmix.data.plan import make_plan
from pclmix.labels import IGNORE
from pclmix.method.pclmix import PCLMix
from pclmix.session import Session, open_session, precision

PROGRESS = 0.5
"""r at which steps are measured: every loss counts."""

TINY = ("planner.crop=64", "planner.batch=4", "network.swin_width=16", "network.embedding=32")
"""Overrides of --quick."""


def bench(runs: int, quick: bool) -> list[Row]:
    """A row a preset."""
    gpu = () if torch.cuda.is_available() else ("planner.batch=4",)
    return [
        _row(preset, TINY if quick else sizes, runs) for preset, sizes in (("cpu", ()), ("paper", ()), ("gpu", gpu))
    ]


def phantom_session(
    preset: str, overrides: tuple[str, ...] = (), *, cases: int = 4, accelerator: str = "auto"
) -> Session:
    """A session of PCLMix on made-up hearts, before its first step."""
    settings = PCLMix.configured(make_settings(preset, ("method.sparing=false", *overrides)))
    dataset = read_dataset(material.acdc_like(material.folder(), cases))
    plan = make_plan(fingerprint(dataset, dataset.cases, settings.planner), dataset, settings)
    cached = build_cache(dataset, dataset.cases, plan, Console(quiet=True), dense=True)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision(settings))  # type: ignore[arg-type]
    fabric.launch()
    return open_session(fabric, PCLMix, cached, plan, settings, seed=0, total=1000)


def dense_batch(session: Session, step: int = 0) -> Batch:
    """The batch of a step with dense labels for strokes."""
    source = session.source
    batch = source.batch(step)
    dense = crop_labels([source.dense(place) for place in range(len(source.slices))], batch)
    return replace(batch, scribble=torch.where(batch.valid, dense, IGNORE))


def advance(session: Session, batch: Batch) -> None:
    """One step, to its end on the device."""
    losses, _ = session.advance(batch, PROGRESS)
    float(losses.total.detach())


def bare_passes(session: Session, batch: Batch, passes: int = 2) -> None:
    """The baseline."""
    for _ in range(passes):
        placed = session.placed(batch)
        session.optimizer.zero_grad(set_to_none=True)
        look = session.net(placed.image, embed=False)
        loss = _cross_entropy(look.main, placed) + _cross_entropy(look.auxiliary, placed)
        session.fabric.backward(loss)
        float(loss.detach())


def _cross_entropy(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return functional.cross_entropy(logits, batch.scribble, ignore_index=IGNORE)


def _row(preset: str, overrides: tuple[str, ...], runs: int) -> Row:
    session = phantom_session(preset, overrides)
    plan, batch = session.source.plan, dense_batch(session)
    for _ in range(2):  # the memory of M3 gets its first keys
        advance(session, batch)
    ours, base = compare(partial(advance, session, batch), partial(bare_passes, session, batch), runs)
    apart = ", ".join(f"{name} {1000 * _median(work, runs):.1f} ms" for name, work in _apart(session).items())
    return Row(
        name=f"step of preset {preset}",
        what=f"{plan.network.encoder}, {plan.crop[0]} x {plan.crop[1]}, batch {plan.batch}, "
        f"{precision(session.settings)}",
        baseline="two bare forward and backward passes, same network, batch and precision",
        ours=ours,
        base=base,
        target=1.10,
        note=f"of our step, measured apart: {apart}",
    )


def _apart(session: Session) -> dict[str, Callable[[], object]]:
    """Parts of our step that the baseline lacks, but for the losses; the gradients are there already."""
    parts: dict[str, Callable[[], object]] = {
        "optimiser": session.optimizer.step,
        "average": partial(session.averaged.update, session.kept, session.step),
    }
    if clip := session.settings.optimizer.clip_norm:
        parts["clipping"] = partial(session.fabric.clip_gradients, session.net, session.optimizer, max_norm=clip)
    return parts


def _median(work: Callable[[], object], runs: int) -> float:
    work()
    return statistics.median(seconds(work) for _ in range(runs))
