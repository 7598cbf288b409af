"""The network part of predicting one volume, against both decoders slice by slice in fp32."""

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models import plan_of, random_net
from benchmarks.timing import Row, compare
from pclmix.infer import predict_slices
from pclmix.network.arithmetic import native_dtype
from pclmix.network.dual import DualDecoderNet
from pclmix.network.fast import for_inference

SIZES = {"cpu": (176, 144), "paper": (224, 224)}
"""Pixels of a slice at the plan's spacing."""


def bench(runs: int, quick: bool) -> list[Row]:
    """Each preset with its own encoder, which the baseline shares."""
    device, rows = torch.device("cpu"), []
    for preset, size in SIZES.items():
        slices = 2 if quick else 10
        net = random_net(plan_of(preset, size))
        image = np.random.default_rng(0).normal(size=(slices, 1, *size)).astype(np.float32)
        quick_net = for_inference(net.segmenter, device)
        apart = (predict_slices(quick_net, image, device) - _by_slice(net, image)).abs().max()

        def ours(net: torch.nn.Module = quick_net, image: NDArray[np.float32] = image) -> torch.Tensor:
            return predict_slices(net, image, device)

        def base(net: DualDecoderNet = net, image: NDArray[np.float32] = image) -> torch.Tensor:
            return _by_slice(net, image)

        rows.append(
            Row(
                f"inference, {preset}",
                f"network on {slices} slices of {size[0]} x {size[1]}, {native_dtype(device)}",
                "slice by slice, both decoders, fp32",
                *compare(ours, base, runs),
                target=5,
                at_most=False,
                note=f"probabilities differ by at most {float(apart):.2g}",
            )
        )
    return rows


@torch.no_grad()
def _by_slice(net: DualDecoderNet, image: NDArray[np.float32]) -> torch.Tensor:
    """As published code tests a volume: the main decoder's output of each slice is kept, all outputs are computed."""
    return torch.cat([net(torch.from_numpy(one[None]), embed=False).main.softmax(dim=1) for one in image])
