"""Encoders. The contract: `strides` and `channels` of a feature pyramid, finest first, and `forward` that gives it.

Example, ResNet-50 on (B, 3, 224, 224): strides 2, 4, 8, 16, 32; channels 64, 256, 512, 1024, 2048; features of
112, 56, 28, 14 and 7 pixels. The plain encoder of depth 5 has strides 1, 2, 4, 8, 16 and channels 16 ... 256.
"""

from typing import cast

import torch
from torch import Tensor, nn

from pclmix.config import Plan
from pclmix.network.blocks import conv_block

RESNETS: dict[str, tuple[str, list[int], int]] = {
    "resnet18": ("basic", [2, 2, 2, 2], 1),
    "resnet50": ("bottleneck", [3, 4, 6, 3], 4),
}
"""Block, blocks a stage, channel expansion (He et al., CVPR 2016)."""


class Encoder(nn.Module):
    """Base of the encoders: images (B, C, H, W), sides multiples of the last stride -> features, finest first."""

    strides: tuple[int, ...]
    channels: tuple[int, ...]

    def require_multiple(self, x: Tensor) -> None:
        """Raise `ValueError` naming the sizes that would fit, unless both sides are multiples of the last stride."""
        stride = self.strides[-1]
        height, width = x.shape[-2:]
        if height % stride or width % stride:
            fit = (-(-height // stride) * stride, -(-width // stride) * stride)
            raise ValueError(
                f"image of {height} x {width} pixels, expected multiples of {stride}, e.g. {fit[0]} x {fit[1]}"
            )


class PlainEncoder(Encoder):
    """`depth` levels of two 3x3 convolutions; 2x2 max pooling between them; `width` channels, doubling to at most 16
    times as many."""

    def __init__(self, in_channels: int, depth: int = 5, width: int = 16, norm: str = "batch") -> None:
        super().__init__()
        self.strides = tuple(2**level for level in range(depth))
        self.channels = tuple(width * min(2**level, 16) for level in range(depth))
        inputs = (in_channels, *self.channels[:-1])
        self.levels = nn.ModuleList(conv_block(i, o, norm) for i, o in zip(inputs, self.channels, strict=True))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> one feature a level."""
        self.require_multiple(x)
        features: list[Tensor] = []
        for level in self.levels:
            x = level(self.pool(features[-1]) if features else x)
            features.append(x)
        return features


class ResNetEncoder(Encoder):
    """MONAI's ResNet without its head; layer for layer torchvision's, so its ImageNet weights fit."""

    def __init__(self, name: str, in_channels: int, norm: str = "batch") -> None:
        super().__init__()
        from monai.networks.nets.resnet import ResNet  # slow to import, and the plain encoder does without

        block, layers, expansion = RESNETS[name]
        self.strides = (2, 4, 8, 16, 32)
        self.channels = (64, *(width * expansion for width in (64, 128, 256, 512)))
        self.resnet = ResNet(
            block=block,
            layers=layers,
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
            norm="batch" if norm == "batch" else ("group", {"num_groups": 8}),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> features of strides 2, 4, 8, 16, 32."""
        self.require_multiple(x)
        net = self.resnet
        stem = net.act(net.bn1(net.conv1(x)))
        features = [stem]
        x = net.maxpool(stem)
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = cast(Tensor, stage(x))
            features.append(x)
        return features


def make_encoder(plan: Plan) -> Encoder:
    """The encoder a plan asks for, randomly initialised."""
    settings, channels = plan.network, len(plan.channels)
    if settings.encoder == "plain":
        encoder: Encoder = PlainEncoder(channels, plan.depth, settings.width, settings.norm)
    else:
        encoder = ResNetEncoder(settings.encoder, channels, settings.norm)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return encoder
