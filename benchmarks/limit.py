"""How near training steps and inference come to what this machine can do: time against operations over its rate.

The limit of a piece of work is the floating-point operations of its convolutions and matrix products, forward and
backward, as `FlopCounterMode` counts them, over the rate of a large matrix product in the same precision, measured in
the same run: 1 x would be a network of nothing else, at that rate. All else (norms, activations, losses, optimiser,
copies) counts as time and not as operations. The note says the rates, memory's too. Nothing is a target.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inference import SIZES
from benchmarks.models import plan_of, random_net
from benchmarks.step import TINY, advance, dense_batch, phantom_session
from benchmarks.timing import Row, seconds
from pclmix.infer import predict_slices
from pclmix.network.arithmetic import native_dtype
from pclmix.network.fast import for_inference


def bench(runs: int, quick: bool) -> list[Row]:
    """Steps of presets cpu and paper, and the network part of predicting a volume with both encoders."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    work: dict[str, Callable[[], object]] = {}
    for preset in ("cpu", "paper"):
        session = phantom_session(preset, TINY if quick else ())
        work[f"step of preset {preset}"] = partial(advance, session, dense_batch(session))
    for preset, size in SIZES.items():
        net = for_inference(random_net(plan_of(preset, size)).segmenter, device)
        image = np.zeros((2 if quick else 10, 1, *size), np.float32)
        work[f"inference, {preset}"] = partial(predict_slices, net, image, device)
    return [_row(name, one, runs, quick, device) for name, one in work.items()]


def _row(name: str, work: Callable[[], object], runs: int, quick: bool, device: torch.device) -> Row:
    with FlopCounterMode(display=False) as counter:
        work()
    operations = counter.get_total_flops()
    rates = [_matrix_rate(device, 512 if quick else 2048) for _ in range(runs)]
    ours = [seconds(work) for _ in range(runs)]
    matrix, copy = max(rates) / 1e9, _copy_rate(device) / 1e9
    return Row(
        name=f"{name}, to its limit",
        what=f"{operations / 1e9:.1f} GFLOP",
        baseline=f"the same operations at the rate of a matrix product, {native_dtype(device)}",
        ours=ours,
        base=[operations / rate for rate in rates],
        target=None,
        note=f"matrix product {matrix:.0f} GFLOP/s, copy {copy:.1f} GB/s read and written",
    )


def _matrix_rate(device: torch.device, side: int) -> float:
    """Operations a second of the best of five square matrix products."""
    matrix = torch.randn(side, side, device=device, dtype=native_dtype(device))
    return 2 * side**3 / min(seconds(partial(_done, torch.mm, matrix, matrix)) for _ in range(5))


def _copy_rate(device: torch.device, numbers: int = 2**26) -> float:
    """Bytes a second, read and written, of the best of five copies."""
    source = torch.zeros(numbers, device=device)
    target = torch.empty_like(source)
    return 8 * numbers / min(seconds(partial(_done, target.copy_, source)) for _ in range(5))


def _done(function: Callable[..., torch.Tensor], *arguments: torch.Tensor) -> None:
    """Call, and wait for a GPU to have done it."""
    function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
