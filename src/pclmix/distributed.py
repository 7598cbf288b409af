"""One run in several processes, a device each: who does what, and what they agree on. Alone, all of it is the identity.

Fabric starts the processes: by itself on one machine (it runs the program again, a process a device), or it finds
them started by torchrun or SLURM. Every rank takes its share of the same global batch; gradients, pixel counts and
batch-norm running statistics are averaged and the memory's keys gathered, so weights, their average and PCLMix's state
are the same on every rank and a checkpoint of rank 0 is everybody's.

What stays within a rank: PCLMix mixes and draws its partners within a rank's share; batch norm goes by the statistics
of the share; the contrast takes its anchors from the share, and means other than those of `mean_over_ranks` are means
over the share, averaged over ranks. Rank 0 alone writes and speaks. The machines share the data set and the run folder.
An error that all agree on ends with rank 0's line and exit code (torchrun itself always exits with 1); if a rank dies,
the others end at their next message.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pclmix.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

PATIENCE = timedelta(hours=3)
"""How long ranks wait for each other: rank 0 preprocesses the data while the others do."""

BUCKET = 2**23
"""Most numbers that are averaged in one message."""

ASK_EVERY = 10
"""Steps between two agreements on GPUs, where each one waits for the device; on CPUs it is every step."""


class _Ranks(DDPStrategy):
    """Fabric's processes without `DistributedDataParallel`, which expects one forward pass a step and the same
    parameters used in each. Our methods make two with other heads, call parts of the network in eval mode and copy
    it; so gradients are averaged after the backward pass, by `average_gradients`."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        return module


def open_fabric(precision: str, devices: int = 1, nodes: int = 1) -> Fabric:
    """Start or join the processes: `devices` on each of `nodes` machines. Under torchrun its numbers count.

    Raises `InputError` where the machine has fewer devices, or whoever started the processes started others.
    """
    if dist.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        started = here, int(os.environ["WORLD_SIZE"]) // here
        if (devices, nodes) not in ((1, 1), started):
            raise InputError(
                f"--devices {devices} --nodes {nodes}: torchrun started {started[0]} processes on each of "
                f"{started[1]} machines, expected the same numbers or none"
            )
        devices, nodes = started
    several = devices * nodes > 1
    if several:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # our line says how many take part
    strategy = _Ranks(timeout=PATIENCE) if several else "auto"
    try:
        fabric = Fabric(
            accelerator="auto",
            strategy=strategy,
            devices=devices,
            num_nodes=nodes,
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        if not several:
            raise
        raise InputError(f"--devices {devices} --nodes {nodes}: {error}") from error
    return fabric


def world() -> int:
    """Number of processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if world() > 1 else 0


def leave(error: BaseException) -> NoReturn:
    """End the run on every rank, each of which must call it: rank 0 says why, the others go without a word.

    They leave with exit code 0, since whoever started them (Fabric, torchrun) would take another for a crash and kill
    rank 0 before it has spoken.
    """
    if rank():
        raise SystemExit(0)
    raise error


def together(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Every rank does the work. If it fails on any, the run ends on all, and nobody waits for ever."""
    if world() == 1:
        return work(*args, **kwargs)
    mine: BaseException | None = None
    try:
        result = work(*args, **kwargs)
    except BaseException as error:
        mine = error
    failures = [failure for failure in _everybodys(_told(mine)) if failure]
    if not failures:
        return result
    if rank() and mine and not isinstance(mine, InputError | KeyboardInterrupt):
        raise mine  # a bug: its traceback is worth having
    kind, text = failures[0]
    leave(mine or kind(text))


def _told(error: BaseException | None) -> tuple[type[BaseException], str] | None:
    """An error as another rank may raise it: its kind and words."""
    if error is None:
        return None
    kinds: tuple[type[BaseException], ...] = (InputError, KeyboardInterrupt)
    kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
    return kind, str(error) if kind is not RuntimeError else f"rank {rank()}: {type(error).__name__}: {error}"


def lead(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Rank 0 does the work and every rank gets its result, which must pickle. If it fails, the run ends on all."""
    if world() == 1:
        return work(*args, **kwargs)
    box: list[Any] = [together(lambda: None if rank() else work(*args, **kwargs))]
    dist.broadcast_object_list(box, src=0)
    return cast(T, box[0])


def lead_then_follow(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Every rank does the work, the others when rank 0 is done: it makes the files that they find."""
    if world() == 1:
        return work(*args, **kwargs)
    first = together(lambda: None if rank() else work(*args, **kwargs))
    return cast(T, together(lambda: work(*args, **kwargs) if rank() else first))


def share_out(work: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
    """`map(work, items)`, each rank doing a part; all get all results, in order."""
    if world() == 1:
        return map(work, items)
    parts = _everybodys(together(lambda: [work(item) for item in items[rank() :: world()]]))
    return [parts[index % world()][index // world()] for index in range(len(items))]


def _everybodys(thing: T) -> list[T]:
    things: list[Any] = [None] * world()
    dist.all_gather_object(things, thing)
    return things


def agreed(step: int, *flags: bool) -> tuple[bool, ...]:
    """Which of the flags are up on any rank, asked after finished step number `step`."""
    if world() == 1:
        return flags
    on_gpu = dist.get_backend() == "nccl"
    if on_gpu and step % ASK_EVERY:
        return tuple(False for _ in flags)
    shared = torch.tensor(flags, dtype=torch.int32, device="cuda" if on_gpu else "cpu")
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in shared)


def averaged(figures: dict[str, float]) -> dict[str, float]:
    """Mean of each figure over ranks."""
    if world() == 1:
        return figures
    rows = _everybodys(figures)
    return {name: sum(row[name] for row in rows) / len(rows) for name in figures}


def mean_over_ranks(total: Tensor, count: Tensor) -> Tensor:
    """`total / count`, a mean over pixels, such that the average over ranks is the mean over all ranks' pixels.

    The strokes are uneven, so a mean of the ranks' own means would weigh a pixel by how few its rank has. `total`: a
    scalar with a gradient; `count`: an integer scalar; 0 where nobody has a pixel.
    """
    if world() == 1:
        return total / count.clamp_min(1)
    everywhere = count.clone()
    dist.all_reduce(everywhere)
    return total * world() / everywhere.clamp_min(1)


def gathered(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all ranks, in rank order: (ranks x N, ...), float or bool."""
    if world() == 1:
        return rows
    sent = rows.detach().to(torch.uint8 if rows.dtype == torch.bool else torch.float32).contiguous()
    parts = [torch.empty_like(sent) for _ in range(world())]
    dist.all_gather(parts, sent)
    return torch.cat(parts).to(rows.dtype)


@torch.no_grad()
def average_gradients(net: nn.Module) -> None:
    """Average gradients over ranks in place, and the running statistics of batch norm with them.

    Which parameters have a gradient must be the same on every rank, as it is where no branch of a loss depends on the
    data.
    """
    if world() == 1:
        return
    values = [weight.grad for weight in net.parameters() if weight.grad is not None]
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    values += [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
    sent = []
    for bucket in _buckets(values):
        flat = torch.cat([value.reshape(-1) for value in bucket])
        sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, message in sent:
        message.wait()
        parts = (flat / world()).split([value.numel() for value in bucket])
        torch._foreach_copy_(bucket, [part.view(value.shape) for part, value in zip(parts, bucket, strict=True)])


def _buckets(values: list[Tensor]) -> list[list[Tensor]]:
    """The tensors in order, in groups of one type and of at most `BUCKET` numbers, or of one tensor."""
    buckets: list[list[Tensor]] = []
    room = 0
    for value in values:
        if not buckets or value.numel() > room or value.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(value)
        room -= value.numel()
    return buckets
