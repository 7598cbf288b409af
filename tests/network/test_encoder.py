"""The encoders' contract: strides, channels, a clear word about sizes that do not fit."""

import pytest
import torch

from pclmix.network.encoder import PlainEncoder, ResNetEncoder


@pytest.mark.parametrize(
    "encoder, strides, channels",
    [
        (PlainEncoder(1, depth=5), (1, 2, 4, 8, 16), (16, 32, 64, 128, 256)),
        (PlainEncoder(2, depth=6, width=8), (1, 2, 4, 8, 16, 32), (8, 16, 32, 64, 128, 128)),
        (PlainEncoder(3, depth=6), (1, 2, 4, 8, 16, 32), (16, 32, 64, 128, 256, 256)),
        (ResNetEncoder("resnet18", 2), (2, 4, 8, 16, 32), (64, 64, 128, 256, 512)),
        (ResNetEncoder("resnet50", 1, norm="group"), (2, 4, 8, 16, 32), (64, 256, 512, 1024, 2048)),
    ],
)
def test_features_are_as_announced(encoder, strides, channels):
    assert encoder.strides == strides and encoder.channels == channels
    inputs = next(encoder.parameters()).shape[1]
    features = encoder.eval()(torch.zeros(1, inputs, 64, 96))
    assert [tuple(feature.shape) for feature in features] == [
        (1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)
    ]


@pytest.mark.parametrize("encoder", [PlainEncoder(1), ResNetEncoder("resnet18", 1)])
def test_a_wrong_size_names_the_right_one(encoder):
    stride = encoder.strides[-1]
    fit = f"{stride * (-(-50 // stride))} x {64}"
    with pytest.raises(ValueError, match=f"50 x 64 pixels, expected multiples of {stride}, e.g. {fit}"):
        encoder(torch.zeros(1, 1, 50, 64))


def test_the_resnet_counts_what_he_et_al_count():
    """25.557 M parameters with the 1000-class head of 2.049 M (He et al., CVPR 2016; torchvision's figures)."""
    counts = {name: sum(p.numel() for p in ResNetEncoder(name, 3).parameters()) for name in ("resnet18", "resnet50")}
    assert counts == {"resnet18": 11_689_512 - 513_000, "resnet50": 25_557_032 - 2_049_000}
