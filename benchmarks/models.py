"""Untrained networks to measure on, whose labels look like those of trained ones as far as time goes."""

from pathlib import Path

import torch

from benchmarks import material
from pclmix.config import Plan, make_settings
from pclmix.data.phantom import CLASSES, make_heart
from pclmix.data.plan import averaging
from pclmix.model_file import MODEL_NAME, save_model
from pclmix.network.dual import DualDecoderNet, dual_decoder_net


def plan_of(preset: str, crop: tuple[int, int]) -> Plan:
    """The plan of a preset for hearts of one channel at 1.5 mm."""
    settings = make_settings(preset)
    mirror, turn = averaging(settings)
    return Plan(
        channels=("MR",),
        classes=CLASSES,
        spacing=material.SPACING[:2],
        crop=crop,
        batch=settings.planner.batch,
        intensity=("zscore",),
        network=settings.network,
        mirror=mirror,
        turn=turn,
        largest_component=((1, 2, 3), (1,), (2,), (3,)),
    )


def random_net(plan: Plan) -> DualDecoderNet:
    """Both decoders in eval mode. The background's logit is raised until it covers 95 % of a heart, as is usual."""
    torch.manual_seed(0)
    net = dual_decoder_net(plan.without_weights()).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)  # so that folding it changes something
    heart = torch.from_numpy(make_heart(0).image[..., 3])[None, None]
    with torch.no_grad():
        logits = net.segmenter((heart - heart.mean()) / heart.std())
        head = net.segmenter.decoder.head
        assert head.bias is not None
        head.bias[0] += (logits[:, 1:].amax(dim=1) - logits[:, 0]).quantile(0.95)
    return net


def model_file(folder: Path, plan: Plan) -> Path:
    """A model file of such a network."""
    path = folder / MODEL_NAME
    save_model(path, random_net(plan).segmenter, plan)
    return path
