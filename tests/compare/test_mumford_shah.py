import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import pixels

from pclmix.compare.mumford_shah import PUBLISHED_DEVIATION, region_means, region_variance, total_variation
from pclmix.method.supervision import partial_cross_entropy


def slow_region_variance(p, image, valid):
    total = 0.0
    for b in range(p.shape[0]):
        places = [(y, x) for y in range(p.shape[2]) for x in range(p.shape[3]) if valid[b, y, x]]
        for k in range(p.shape[1]):
            weight = sum(p[b, k, y, x] for y, x in places)
            for c in range(image.shape[1]):
                if not places:
                    continue
                mean = sum(p[b, k, y, x] * image[b, c, y, x] for y, x in places) / weight
                total += sum(p[b, k, y, x] * (image[b, c, y, x] - mean) ** 2 for y, x in places)
    return total / max(valid.sum(), 1)


def slow_total_variation(p, valid):
    total = 0.0
    for b, y, x in pixels(p):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < p.shape[2] and other[1] < p.shape[3] and valid[b, y, x] and valid[(b, *other)]:
                total += sum(abs(p[b, k, y, x] - p[(b, k, *other)]) for k in range(p.shape[1]))
    return total / max(valid.sum(), 1)


def draw(share, channels=1):
    torch.manual_seed(0)
    p = (2 * torch.randn(2, 3, 5, 4, dtype=torch.float64)).softmax(dim=1)
    valid = torch.rand(2, 5, 4) < share
    return p, torch.randn(2, channels, 5, 4, dtype=torch.float64), valid


class TestMumfordShah(MethodContract):
    name = "mumford_shah"

    def test_the_total_is_m5_and_the_weighted_parts(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        logits = net(batch.image)
        parts = region_variance(logits.softmax(dim=1), batch.image * PUBLISHED_DEVIATION, batch.valid)
        parts = parts + total_variation(logits.softmax(dim=1), batch.valid)
        expected = partial_cross_entropy(logits, batch.scribble, batch.valid) + made.settings.weight * parts
        torch.testing.assert_close(made.losses(batch, 0.5, torch.Generator()).total, expected)

    def test_the_weight_is_the_published_one_on_sums(self):
        assert self.method.OwnSettings().weight == pytest.approx(1e-6 * 12 * 256 * 256, rel=0.01)


@pytest.mark.parametrize("share, channels", [(0.7, 1), (1.0, 3), (0.0, 1)])
def test_both_parts_are_those_of_slow_loops(share, channels):
    p, image, valid = draw(share, channels)
    expected = slow_region_variance(p.numpy(), image.numpy(), valid.numpy())
    assert float(region_variance(p, image, valid)) == pytest.approx(expected, abs=1e-6)
    expected = slow_total_variation(p.numpy(), valid.numpy())
    assert float(total_variation(p, valid)) == pytest.approx(expected, abs=1e-9)


def test_the_gradient_is_that_through_the_means_too():
    p, image, valid = draw(0.7)
    p.requires_grad_()
    region_variance(p, image, valid).backward()
    through = p.detach().clone().requires_grad_()
    means = region_means(through, image, valid)[:, :, 0, None, None]
    ((through * (image - means) ** 2 * valid[:, None]).sum() / valid.sum()).backward()
    torch.testing.assert_close(p.grad, through.grad)


def test_two_even_halves_cost_their_border_alone():
    image = torch.zeros(1, 1, 4, 6)
    image[..., 3:] = 2
    p = torch.stack([image[:, 0] == 0, image[:, 0] > 0], dim=1).float()
    valid = torch.ones(1, 4, 6, dtype=torch.bool)
    assert float(region_variance(p, image, valid)) == 0
    assert float(total_variation(p, valid)) == pytest.approx(2 * 4 / 24)  # two classes change over four pixels
    assert region_means(p, image, valid).tolist() == [[[0.0], [2.0]]]


def test_the_intensity_may_be_shifted():
    p, image, valid = draw(0.7)
    torch.testing.assert_close(region_variance(p, image, valid), region_variance(p, image + 5, valid))
