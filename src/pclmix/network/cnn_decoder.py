"""g_c, the main decoder: a U-Net decoder for any encoder that keeps the contract (Ronneberger et al., MICCAI 2015)."""

import torch
from torch import Tensor, nn

from pclmix.network.blocks import conv_block
from pclmix.network.encoder import Encoder

FINEST_WIDTH = 16


class CNNDecoder(nn.Module):
    """From the coarsest feature up: double the size, join the skip connection, two 3x3 convolutions; 3x3 head.

    Channels 256-128-64-32-16 for a ResNet (whose finest feature has stride 2, so the last step has no skip), the
    encoder's own for the plain one. Sizes are the encoder's times its finest stride: (B, K, H, W).
    """

    def __init__(self, encoder: Encoder, classes: int, norm: str = "batch") -> None:
        super().__init__()
        plain = encoder.strides[0] == 1
        skips = [*reversed(encoder.channels[:-1]), *([] if plain else [0])]
        widths = skips if plain else [FINEST_WIDTH * 2**step for step in reversed(range(len(skips)))]
        inputs = [encoder.channels[-1], *widths[:-1]]
        # A transposed convolution halves the channels of the small plain network; a ResNet's 2,048 are upsampled as
        # they are, since the convolution after the skip reduces them anyway.
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, w, 2, stride=2) if plain else nn.Upsample(scale_factor=2, mode="nearest")
            for i, w in zip(inputs, widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            conv_block((w if plain else i) + s, w, norm) for i, w, s in zip(inputs, widths, skips, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], classes, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first -> logits (B, K, H, W)."""
        skips = features[-2::-1]
        x = features[-1]
        for index, (up, block) in enumerate(zip(self.up, self.blocks, strict=True)):
            x = up(x)
            if index < len(skips):
                x = torch.cat([x, skips[index]], dim=1)
            x = block(x)
        logits: Tensor = self.head(x)
        return logits
