"""The moving average forgets its beginning; statistics are those of the images they were estimated on."""

import pytest
import torch
from torch import nn

from pclmix.averaging import AveragedWeights, with_fresh_statistics


def constant(value):
    net = nn.Linear(2, 1)
    nn.init.constant_(net.weight, value)
    nn.init.constant_(net.bias, value)
    return net


def test_the_average_is_the_recursion_of_its_definition():
    net = constant(0.0)
    averaged = AveragedWeights(net, window=4.0)
    expected = 0.0
    for step in range(60):
        nn.init.constant_(net.weight, float(step))
        averaged.update(net, step)
        length = max(1.0, min(4.0, (10 + step) / 9))
        expected += (step - expected) / length
    assert averaged.net.weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert 55 < expected < 59, "it lags by about its window"


def test_a_window_below_one_follows_the_network():
    net = constant(3.0)
    averaged = AveragedWeights(constant(0.0), window=0.0)
    averaged.update(net, 0)
    torch.testing.assert_close(averaged.net.weight, net.weight.detach())
    assert not averaged.net.weight.requires_grad


def test_buffers_are_copied_as_they_are():
    net = nn.BatchNorm2d(2)
    averaged = AveragedWeights(net, window=100.0)
    net(torch.randn(4, 2, 3, 3) + 5)
    averaged.update(net, 50)
    torch.testing.assert_close(averaged.net.running_mean, net.running_mean)
    assert averaged.net.num_batches_tracked == 1


def test_statistics_are_those_of_the_images_and_the_network_stays_as_it_was():
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)).train()
    images = [torch.randn(4, 1, 8, 8) * 3 + 7 for _ in range(5)]
    fresh = with_fresh_statistics(net, images)
    mean = torch.cat(images).mean().item()
    assert fresh[0].running_mean.item() == pytest.approx(mean, abs=1e-4)
    assert not fresh.training and net.training
    assert net[0].running_mean.item() == 0
    torch.testing.assert_close(fresh[1].weight, net[1].weight)
