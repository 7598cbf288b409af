"""A trained network made quick: batch norm folded into the convolutions, channels-last, bf16 where that is quicker."""

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pclmix.network.arithmetic import native_dtype


def for_inference(net: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy in eval mode on a device that gives the same logits up to rounding; `dtype` None is `native_dtype`."""
    quick = folded(net).to(device, dtype or native_dtype(device))
    return quick.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def folded(net: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms are part of the convolutions before them.

    A batch norm belongs to the convolution that was registered just before it, as in all our networks and in ResNets.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    for parent in list(net.modules()):
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return net
