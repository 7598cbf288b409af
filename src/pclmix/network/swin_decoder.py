"""g_t, the auxiliary decoder: Swin transformer blocks on the features of strides 4 and coarser (Liu et al., ICCV 2021).

It sees the same features as the CNN decoder but errs differently, which is what makes the mean of both a better
pseudo label. Position is a relative bias table, a registered parameter; windows are padded, so any size goes.
"""

import torch
from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask
from torch import Tensor, nn
from torch.nn import functional

from pclmix.network.encoder import Encoder

COARSEST = 32


class SwinLevel(nn.Module):
    """Two Swin blocks, the second with shifted windows: (B, H, W, C) -> the same.

    A feature smaller than a window is padded to one: MONAI would shrink the window instead and read the table of
    relative positions at the wrong places.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2
        self.plain = SwinTransformerBlock(channels, heads, (window, window), (0, 0))
        self.shifted = SwinTransformerBlock(channels, heads, (window, window), (self.shift, self.shift))
        self.masks: dict[tuple[int, int, str], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Apply both blocks; the attention mask of a size is computed once."""
        given = x.shape[1:3]
        height, width = (max(side, self.window) for side in given)
        if (height, width) != tuple(given):
            x = functional.pad(x, (0, 0, 0, width - given[1], 0, height - given[0]))
        # Where one window holds everything there is nothing to shift or mask.
        single = height == self.window and width == self.window
        mask = None if single else self._mask(height, width, x.device)
        out: Tensor = self.shifted(self.plain(x, None), mask)
        return out[:, : given[0], : given[1]]

    def _mask(self, height: int, width: int, device: torch.device) -> Tensor:
        key = (height, width, str(device))
        if key not in self.masks:
            shift = [self.shift if side > self.window else 0 for side in (height, width)]
            sides = [-(-side // self.window) * self.window for side in (height, width)]
            self.masks[key] = compute_mask(sides, [self.window] * 2, shift, device)
        return self.masks[key]


class PatchExpand(nn.Module):
    """Linear layer and pixel shuffle: (B, H, W, C) -> (B, H·s, W·s, C_out)."""

    def __init__(self, inputs: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(inputs, outputs * scale * scale, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Expand each token to s x s tokens."""
        batch, height, width, _ = x.shape
        scale = self.scale
        x = self.linear(x).view(batch, height, width, scale, scale, -1)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * scale, width * scale, -1)
        out: Tensor = self.norm(x)
        return out


class SwinDecoder(nn.Module):
    """Features of strides 4, 8, ... projected to width, 2·width, ...; expanding x2 a level and x4 at the end."""

    def __init__(self, encoder: Encoder, classes: int, width: int = 96, window: int = 7) -> None:
        super().__init__()
        self.places = [index for index, stride in enumerate(encoder.strides) if 4 <= stride <= COARSEST]
        if not self.places:
            raise ValueError(f"encoder strides {encoder.strides}, expected a feature of stride 4 or coarser")
        self.expand_by = encoder.strides[self.places[0]]
        widths = [width * 2**level for level in range(len(self.places))]
        heads = [max(1, w // 32) for w in widths]
        self.project = nn.ModuleList(
            nn.Linear(encoder.channels[place], w) for place, w in zip(self.places, widths, strict=True)
        )
        self.levels = nn.ModuleList(SwinLevel(w, h, window) for w, h in zip(widths, heads, strict=True))
        self.expand = nn.ModuleList(PatchExpand(widths[i + 1], widths[i], 2) for i in range(len(widths) - 1))
        self.merge = nn.ModuleList(nn.Linear(2 * w, w) for w in widths[:-1])
        final = max(width // 4, 16)
        self.final = PatchExpand(width, final, self.expand_by)
        self.head = nn.Conv2d(final, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first, of an image whose sides are multiples of the strides -> logits (B, K, H, W)."""
        tokens = [
            layer(features[place].permute(0, 2, 3, 1)) for place, layer in zip(self.places, self.project, strict=True)
        ]
        x = self.levels[-1](tokens[-1])
        for level in range(len(tokens) - 2, -1, -1):
            x = self.merge[level](torch.cat([self.expand[level](x), tokens[level]], dim=-1))
            x = self.levels[level](x)
        logits: Tensor = self.head(self.final(x).permute(0, 3, 1, 2))
        return logits
