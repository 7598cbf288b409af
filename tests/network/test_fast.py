"""The quick network against the plain one: folded against unfolded, bf16 against fp32."""

import copy

import pytest
import torch
from torch import nn

from pclmix.config import NetworkSettings, Plan
from pclmix.network.arithmetic import native_dtype
from pclmix.network.dual import segmentation_net
from pclmix.network.fast import folded, for_inference

CPU = torch.device("cpu")


@pytest.fixture(params=["plain", "resnet18", "resnet50"])
def net(request):
    """A network whose batch norms do something: statistics and weights are random, and an image of odd sides."""
    plan = Plan(
        channels=("MR",),
        classes={"background": 0, "a": 1, "b": 2},
        spacing=(1.5, 1.5),
        crop=(64, 64),
        batch=2,
        intensity=("zscore",),
        network=NetworkSettings(encoder=request.param, weights=""),
    )
    torch.manual_seed(0)
    net = segmentation_net(plan)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    image = torch.randn(3, 1, 70, 61)
    with torch.no_grad():  # logits that spread like those of a trained network
        logits = net.eval()(image)
        net.decoder.head.weight *= 4 / logits.std()
    return net, image


@torch.no_grad()
def test_folded_batch_norm_gives_the_same_logits(net):
    net, image = net
    before = copy.deepcopy(net.state_dict())
    quick = folded(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    plain = net(image)
    assert (quick(image) - plain).abs().max() < 1e-4 * plain.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@torch.no_grad()
def test_bf16_gives_the_same_labels_but_for_ties(net):
    """Probabilities within 0.05 and 0.003 on average, labels the same but for 0.5 %, all of them near a tie."""
    net, image = net
    quick = for_inference(net, CPU, torch.bfloat16)
    plain = net(image).softmax(dim=1)
    ours = quick(image.bfloat16()).float().softmax(dim=1)
    apart = (ours - plain).abs()
    assert apart.max() < 0.05 and apart.mean() < 0.003
    best = plain.topk(2, dim=1).values
    differ = ours.argmax(dim=1) != plain.argmax(dim=1)
    assert differ.float().mean() < 0.005
    assert not differ.any() or (best[:, 0] - best[:, 1])[differ].max() < 0.05


def test_a_network_of_group_norm_is_left_as_it_is():
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8))
    image = torch.randn(2, 1, 9, 9)
    torch.testing.assert_close(folded(net)(image), net(image))


def test_the_native_type_of_this_machine():
    assert native_dtype(CPU) in (torch.bfloat16, torch.float32)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)).train()
    quick = for_inference(net, CPU)
    assert next(quick.parameters()).dtype == native_dtype(CPU)
    assert net.training and not quick.training
