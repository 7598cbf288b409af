"""The inference network as a TorchScript program for images of any size, and the check of any copy of the network."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pclmix.config import Plan
from pclmix.errors import InputError
from pclmix.network.copies import over_copies
from pclmix.network.dual import SegmentationNet
from pclmix.network.fast import folded

TOLERANCE = 1e-4
"""Most that a probability of an exported model may differ from PyTorch's, both in fp32."""

TIE = 1e-5
"""Where the two best classes are this near, rounding may choose either; labels are compared everywhere else."""

SIZES = ((1, 64, 64), (2, 33, 50), (3, 7, 91), (1, 128, 1))
"""Images, rows and columns that a copy is checked on: multiples of the coarsest stride, no multiples, below it."""


class Probabilities(nn.Module):
    """Images (B, C, H, W) of any size -> class probabilities (B, K, H, W), float32, averaged over the copies that the
    plan asks for."""

    def __init__(self, net: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.net, self.plan = net, plan

    def forward(self, image: Tensor) -> Tensor:
        """The mean over the copies, as `predict` has it."""
        return over_copies(self._of_one, image, self.plan.mirror, self.plan.turn)

    def _of_one(self, image: Tensor) -> Tensor:
        """Softmax of the logits, in float32 whatever type the network computes in."""
        probabilities: Tensor = self.net(image).float().softmax(dim=1)
        return probabilities


@contextmanager
def unwarned() -> Iterator[None]:
    """No warning from PyTorch that TorchScript and the exporter for it will be replaced some day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def portable(net: SegmentationNet, plan: Plan) -> torch.jit.ScriptModule:
    """The network with its batch norms folded, its padding, the softmax and the plan's average over copies, in fp32.

    Traced, not exported by `torch.export`: that one's proof that a U-Net's sides fit at any size takes minutes.
    """
    stride = net.encoder.strides[-1]
    # No multiples of the stride, so that the trace goes through the padding; batch and sides stay free.
    example = torch.zeros(2, len(plan.channels), stride + 1, 2 * stride + 3)
    with torch.no_grad(), unwarned():  # of sizes that are compared with numbers: it holds for all that is padded
        program = Probabilities(folded(net), plan)
        traced: torch.jit.ScriptModule = torch.jit.trace(program, example, check_trace=False)
    return traced


@torch.no_grad()
def require_agreement(net: SegmentationNet, plan: Plan, copy: Callable[[Tensor], Tensor], name: str) -> None:
    """Raise `InputError` unless `copy` gives the network's `Probabilities`, on random images of several sizes.

    Probabilities may differ by `TOLERANCE`; labels only where the two best classes tie.
    """
    reference = Probabilities(net.eval(), plan)
    random = torch.Generator().manual_seed(0)
    for count, height, width in SIZES:
        image = torch.randn(count, len(plan.channels), height, width, generator=random)
        expected, found = reference(image), copy(image)
        shape = tuple(found.shape)
        if shape != tuple(expected.shape):
            raise InputError(f"{name}: probabilities of shape {shape}, expected {tuple(expected.shape)}")
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise InputError(f"{name}: probabilities differ by {difference:.1g} from PyTorch, expected {TOLERANCE:g}")
        best = expected.topk(2, dim=1).values
        clear = best[:, 0] - best[:, 1] > TIE
        if bool((clear & (found.argmax(dim=1) != expected.argmax(dim=1))).any()):
            raise InputError(f"{name}: labels differ from PyTorch's, expected the same")
