"""The dual-decoder network and the part of it that inference keeps (method.md, "Network")."""

from typing import NamedTuple, cast

from torch import Tensor, nn

from pclmix.config import Plan
from pclmix.errors import InputError
from pclmix.network.blocks import pad_to_multiple
from pclmix.network.cnn_decoder import CNNDecoder
from pclmix.network.encoder import Encoder, ResNetEncoder, make_encoder
from pclmix.network.projection import STRIDE, ProjectionHead
from pclmix.network.weights import load_imagenet


class SegmentationNet(nn.Module):
    """Encoder f and CNN decoder g_c: images (B, C, H, W) of any size -> logits (B, K, H, W). All of inference."""

    def __init__(self, encoder: Encoder, decoder: CNNDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the input's size; sides that are no multiples of the coarsest stride are padded inside."""
        height, width = x.shape[-2:]
        logits: Tensor = self.decoder(self.encoder(pad_to_multiple(x, self.encoder.strides[-1])))
        return logits[..., :height, :width]


class Look(NamedTuple):
    """What the network sees: z_c and z_t (B, K, H, W), and e (B, D, ceil(H/8), ceil(W/8)); None where not asked for."""

    main: Tensor
    auxiliary: Tensor | None
    embedding: Tensor | None


class DualDecoderNet(nn.Module):
    """One encoder, two unlike decoders and a projection head; the encoder's features are computed once for all."""

    def __init__(self, segmenter: SegmentationNet, auxiliary: nn.Module, projection: ProjectionHead) -> None:
        super().__init__()
        self.segmenter, self.auxiliary, self.projection = segmenter, auxiliary, projection

    def forward(self, x: Tensor, embed: bool = True, main_only: bool = False) -> Look:
        """Logits at the input's size, and the embedding where `embed` is set; with `main_only` no more than z_c."""
        if main_only:
            return Look(self.segmenter(x), None, None)
        height, width = x.shape[-2:]
        encoder = self.segmenter.encoder
        features = encoder(pad_to_multiple(x, encoder.strides[-1]))
        main = self.segmenter.decoder(features)[..., :height, :width]
        auxiliary = self.auxiliary(features)[..., :height, :width]
        if not embed:
            return Look(main, auxiliary, None)
        embedding = self.projection(features[encoder.strides.index(STRIDE)])
        return Look(main, auxiliary, embedding[..., : -(-height // STRIDE), : -(-width // STRIDE)])


def segmentation_net(plan: Plan) -> SegmentationNet:
    """The inference network of a plan, randomly initialised."""
    encoder = make_encoder(plan)
    return SegmentationNet(encoder, CNNDecoder(encoder, len(plan.classes), plan.network.norm))


def pretrained_segmentation_net(plan: Plan) -> SegmentationNet:
    """The network to train, with ImageNet weights in its encoder where the plan names them."""
    net = segmentation_net(plan)
    if plan.network.weights and isinstance(net.encoder, ResNetEncoder):
        load_imagenet(net.encoder, plan.network.encoder, plan.network.weights)
    return net


def dual_decoder_net(plan: Plan) -> DualDecoderNet:
    """The network PCLMix trains."""
    from pclmix.network.swin_decoder import SwinDecoder  # slow to import (MONAI), and inference does without

    segmenter = pretrained_segmentation_net(plan)
    encoder = segmenter.encoder
    if STRIDE not in encoder.strides:
        raise InputError(f"planner.depth {plan.depth}: no feature of stride {STRIDE} to contrast, expected at least 4")
    auxiliary = SwinDecoder(encoder, len(plan.classes), plan.network.swin_width, plan.network.window)
    channels = encoder.channels[encoder.strides.index(STRIDE)]
    return DualDecoderNet(segmenter, auxiliary, ProjectionHead(channels, plan.network.embedding))


def kept_for_inference(net: nn.Module) -> SegmentationNet:
    """The encoder and CNN decoder inside a trained network."""
    return net if isinstance(net, SegmentationNet) else cast(DualDecoderNet, net).segmenter
