"""The small blocks that encoders and decoders are built of."""

from torch import Tensor, nn
from torch.nn import functional


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Batch norm, or group norm with up to 8 channels a group."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(1, channels // 8), channels)


def conv_block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    """Two 3x3 convolutions, each with norm and leaky ReLU: (B, inputs, H, W) -> (B, outputs, H, W)."""
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        layers += [
            nn.Conv2d(source, outputs, 3, padding=1, bias=False),
            norm_layer(norm, outputs),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with zeros added below and to the right until both sides are multiples."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return functional.pad(x, (0, right, 0, bottom)) if bottom or right else x
