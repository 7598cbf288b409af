"""The network of SC-Net: two alike decoders, and the heads that its contrast needs."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pclmix.compare.dmpls import DROPPED
from pclmix.network.blocks import pad_to_multiple
from pclmix.network.cnn_decoder import FINEST_WIDTH, CNNDecoder
from pclmix.network.dual import SegmentationNet

LATTICE = 4
"""Pixels between two that take part in the contrast, both ways."""


class Contrasted(NamedTuple):
    """Of N pixels of the lattice, both decoders' one after the other: `projected`, without gradient, and `predicted`
    features (2, N, D); their scores (2, N, F) by foreground class; scores of the remembered features (F, M)."""

    projected: Tensor
    predicted: Tensor
    projected_scores: Tensor
    predicted_scores: Tensor
    memory_scores: Tensor


class ContrastedTwinNet(nn.Module):
    """One encoder, two alike CNN decoders, the second behind feature dropout, and heads for the contrast."""

    def __init__(self, segmenter: SegmentationNet, second: CNNDecoder, foreground: int, dimension: int) -> None:
        super().__init__()
        self.segmenter, self.second, self.dropout = segmenter, second, nn.Dropout(DROPPED)
        self.projection = _head(FINEST_WIDTH, dimension)
        self.prediction = _head(dimension, dimension)
        self.selectors = nn.ModuleList(_selector(dimension) for _ in range(foreground))
        self.memory_selectors = nn.ModuleList(_selector(dimension) for _ in range(foreground))

    def forward(
        self, x: Tensor, corner: tuple[int, int] | None = None, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Contrasted | None]:
        """Images (B, C, H, W) -> both decoders' logits (B, K, H, W); with the lattice's `corner` (row, column) and the
        `memory` (F, M, D), unit vectors, also what the contrast needs."""
        height, width = x.shape[-2:]
        encoder = self.segmenter.encoder
        features = encoder(pad_to_multiple(x, encoder.strides[-1]))
        main, fine = _with_feature(self.segmenter.decoder, features)
        second, second_fine = _with_feature(self.second, [self.dropout(feature) for feature in features])
        main, second = main[..., :height, :width], second[..., :height, :width]
        if corner is None or memory is None:
            return main, second, None
        pixels = torch.stack([lattice(feature[..., :height, :width], corner) for feature in (fine, second_fine)])
        pixels = pixels.permute(0, 1, 3, 4, 2).flatten(1, 3)  # (2, N, C)
        projected = self.projection(pixels.flatten(0, 1))
        predicted = self.prediction(projected).view(*pixels.shape[:2], -1)
        held = projected.detach().view_as(predicted)
        with torch.no_grad():
            held_scores = torch.cat([selector(held) for selector in self.selectors], dim=2)
        # A selector weighs features, it does not shape them: no gradient goes through it.
        scores = torch.cat([selector(predicted.detach()) for selector in self.selectors], dim=2)
        remembered = [selector(keys)[:, 0] for selector, keys in zip(self.memory_selectors, memory, strict=True)]
        return main, second, Contrasted(held, predicted, held_scores, scores, torch.stack(remembered))


def lattice(values: Tensor, corner: tuple[int, int]) -> Tensor:
    """Every LATTICE-th row and column of (..., H, W) from the corner on."""
    return values[..., corner[0] :: LATTICE, corner[1] :: LATTICE]


def _with_feature(decoder: CNNDecoder, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A decoder's logits and the feature (B, C, H, W) that its head makes them of."""
    seen: list[Tensor] = []
    handle = decoder.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits: Tensor = decoder(features)
    finally:
        handle.remove()
    return logits, seen[0]


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True), nn.Linear(outputs, outputs)
    )


def _selector(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.LeakyReLU(0.2, inplace=True), nn.Linear(inputs, 1))
