"""The dual-decoder network: any size, channels and classes; every parameter learns; inference keeps half of it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pclmix.config import Plan, make_settings
from pclmix.errors import InputError
from pclmix.network.dual import DualDecoderNet, SegmentationNet, dual_decoder_net, kept_for_inference, segmentation_net
from pclmix.network.swin_decoder import SwinLevel


def make_plan(classes=4, channels=1, depth=4, **network):
    settings = make_settings("cpu").network.model_copy(update={"swin_width": 16, "embedding": 8, **network})
    return Plan(
        channels=tuple(f"mr{index}" for index in range(channels)),
        classes={f"class{value}" if value else "background": value for value in range(classes)},
        spacing=(1.5, 1.5),
        crop=(32, 32),
        batch=2,
        depth=depth,
        intensity=("zscore",) * channels,
        network=settings,
    )


def test_a_depth_without_the_contrasts_stride_is_one_line():
    with pytest.raises(InputError, match="planner.depth 3: no feature of stride 8"):
        dual_decoder_net(make_plan(depth=3))


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (33, 31), (64, 130)])
@pytest.mark.parametrize("encoder", ["plain", "resnet18"])
def test_any_size_goes_in_and_comes_out(encoder, size):
    net = dual_decoder_net(make_plan(encoder=encoder)).eval()
    with torch.no_grad():
        look = net(torch.randn(2, 1, *size))
    assert look.main.shape == look.auxiliary.shape == (2, 4, *size)
    assert look.embedding.shape == (2, 8, -(-size[0] // 8), -(-size[1] // 8))
    torch.testing.assert_close(look.embedding.norm(dim=1), torch.ones_like(look.embedding[:, 0]))
    assert all(torch.isfinite(part).all() for part in look)


@pytest.mark.parametrize("classes, channels", [(2, 1), (5, 3)])
def test_any_number_of_classes_and_channels(classes, channels):
    net = dual_decoder_net(make_plan(classes, channels))
    look = net(torch.randn(2, channels, 40, 40), embed=False)
    assert look.main.shape == look.auxiliary.shape == (2, classes, 40, 40)
    assert look.embedding is None


@pytest.mark.parametrize(
    "network", [{}, {"norm": "group"}, {"encoder": "resnet18"}, {"encoder": "resnet50", "norm": "group"}]
)
def test_the_gradient_reaches_every_parameter(network):
    torch.manual_seed(0)
    net = dual_decoder_net(make_plan(**network))
    look = net(torch.randn(2, 1, 96, 96))
    (look.main.square().mean() + look.auxiliary.square().mean() + (look.embedding**3).sum()).backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


def test_position_parameters_are_registered_and_saved():
    net = dual_decoder_net(make_plan())
    tables = [name for name in net.state_dict() if name.endswith("relative_position_bias_table")]
    assert len(tables) == 2 * len(net.auxiliary.levels)
    assert set(tables) <= {name for name, _ in net.named_parameters()}


def test_the_state_goes_round():
    torch.manual_seed(1)
    first, second = dual_decoder_net(make_plan()).eval(), dual_decoder_net(make_plan()).eval()
    second.load_state_dict(first.state_dict())
    image = torch.randn(1, 1, 48, 40)
    with torch.no_grad():
        for ours, theirs in zip(first(image), second(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_attention_does_not_cross_the_window_mask():
    """A token in one corner must not move when the opposite corner changes, though shifting rolls them together."""
    torch.manual_seed(2)
    level = SwinLevel(16, 1, 4).eval()
    image = torch.randn(1, 12, 12, 16)
    changed = image.clone()
    changed[:, -1, -1] += 10
    with torch.no_grad():
        before, after = level(image), level(changed)
    torch.testing.assert_close(before[:, :4, :4], after[:, :4, :4])
    assert not torch.allclose(before[:, -1, -1], after[:, -1, -1])


def test_a_feature_smaller_than_a_window_keeps_the_relative_positions():
    """In a window that the feature does not fill, the bias between two tokens still depends on their offset alone."""
    torch.manual_seed(2)
    level = SwinLevel(16, 1, 7).eval()
    with torch.no_grad():
        for block in (level.plain, level.shifted):
            block.attn.relative_position_bias_table[:] = torch.linspace(-3, 3, 13 * 13)[:, None]
        small = torch.randn(1, 6, 6, 16)
        padded = torch.nn.functional.pad(small, (0, 0, 0, 1, 0, 1))
        torch.testing.assert_close(level(small), level(padded)[:, :6, :6])


@pytest.mark.parametrize("encoder", ["plain", "resnet18"])
def test_inference_has_no_parameter_but_the_encoders_and_the_main_decoders(encoder):
    plan = make_plan(encoder=encoder)
    net = dual_decoder_net(plan)
    kept = kept_for_inference(net)
    assert isinstance(net, DualDecoderNet) and isinstance(kept, SegmentationNet)
    ours = {name for name, _ in kept.named_parameters()}
    assert {name.partition(".")[0] for name in ours} == {"encoder", "decoder"}
    assert ours == {name for name, _ in segmentation_net(plan).named_parameters()}
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(kept.eval()(image), net.eval()(image).main)


def u_net_flops(widths, size, inputs, classes):
    """Of a plain U-Net: two 3x3 convolutions a level either way, 2x2 transposed convolutions up, a 3x3 head."""
    total, last = 0, inputs
    for level, width in enumerate(widths):
        pixels = (size >> level) ** 2
        total += pixels * 9 * (last * width + width * width)
        last = width
    for level in range(len(widths) - 2, -1, -1):
        pixels, width = (size >> level) ** 2, widths[level]
        total += pixels * widths[level + 1] * width  # the transposed convolution: one tap a pixel
        total += pixels * 9 * (2 * width * width + width * width)
    return 2 * (total + size * size * 9 * widths[0] * classes)


@pytest.mark.parametrize(
    "depth, settings, widths",
    [
        (5, {}, [16, 32, 64, 128, 256]),
        (5, {"width": 32}, [32, 64, 128, 256, 512]),
        (7, {"width": 8}, [8, 16, 32, 64, 128, 128, 128]),
    ],
)
def test_inference_costs_what_a_plain_u_net_costs(depth, settings, widths):
    plan = make_plan(classes=4, depth=depth, **settings)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        segmentation_net(plan).eval()(torch.zeros(1, 1, 64, 64))
    assert counter.get_total_flops() == u_net_flops(widths, 64, 1, 4)
