"""The projection head that embeds pixels for the contrast."""

from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""The feature that is embedded."""


class ProjectionHead(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution, then unit length: (B, C, h, w) -> e (B, D, h, w)."""

    def __init__(self, channels: int, dimension: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, dimension, 1),
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Embed and normalise each pixel."""
        return functional.normalize(self.layers(feature).float(), dim=1)
