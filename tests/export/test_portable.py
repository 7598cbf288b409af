"""The traced network gives what the network gives at any size, and the check of a copy finds what is wrong with it."""

import pytest
import torch

from pclmix.config import NetworkSettings
from pclmix.errors import InputError
from pclmix.export.portable import Probabilities, portable, require_agreement
from pclmix.infer import predict_slices
from pclmix.model_file import load_model
from pclmix.network.dual import segmentation_net


@pytest.fixture(scope="module")
def net(model):
    return load_model(model)[0]


@pytest.fixture
def one_pass(plan):
    return plan.model_copy(update={"mirror": False, "turn": 0.0})


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 8, 8), (2, 37, 41)])
def test_any_number_of_images_of_any_size(net, one_pass, size):
    count, height, width = size
    image = torch.randn(count, 2, height, width)
    with torch.no_grad():
        found = portable(net, one_pass)(image)
        torch.testing.assert_close(found, net(image).softmax(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(count, height, width))


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 8, 8), (2, 37, 41)])
def test_averaged_over_the_copies_of_the_plan_at_any_size(net, plan, size):
    image = torch.randn(size[0], 2, *size[1:])
    with torch.no_grad():
        found = portable(net, plan)(image)
    expected = predict_slices(net, image.numpy(), torch.device("cpu"), plan)
    assert plan.mirror and plan.turn
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_tracing_is_silent(net, plan, one_pass, recwarn):
    portable(net, one_pass)
    portable(net, plan)
    assert [str(warning.message) for warning in recwarn] == []


def test_a_resnet_with_group_norm_goes_too(plan):
    small = plan.model_copy(update={"network": NetworkSettings(encoder="resnet18", norm="group")})
    torch.manual_seed(0)
    net = segmentation_net(small).eval()
    require_agreement(net, small, portable(net, small), "copy")


def test_a_copy_that_agrees_passes(net, plan):
    require_agreement(net, plan, Probabilities(net, plan), "copy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p + 2e-4, "copy: probabilities differ by 0.0002 from PyTorch, expected 0.0001"),
        (lambda p: p * float("nan"), "copy: probabilities differ by nan"),
        (lambda p: p[..., :1], "copy: probabilities of shape"),
    ],
)
def test_a_copy_that_differs_is_refused(net, plan, change, message):
    with pytest.raises(InputError, match=message):
        require_agreement(net, plan, lambda image: change(Probabilities(net, plan)(image)), "copy")


def test_other_labels_are_refused_even_where_the_probabilities_are_near(net, plan, monkeypatch):
    monkeypatch.setattr("pclmix.export.portable.TOLERANCE", 2.0)
    with pytest.raises(InputError, match="copy: labels differ"):
        require_agreement(net, plan, lambda image: Probabilities(net, plan)(image).flip(1), "copy")
