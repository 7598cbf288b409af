import math

import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import pixels

from pclmix.compare.gated_crf import GatedCRFSettings, crf_energy
from pclmix.compare.mumford_shah import PUBLISHED_DEVIATION
from pclmix.method.supervision import partial_cross_entropy

SETTINGS = GatedCRFSettings(radius=2, sigma_position=1.5, sigma_intensity=0.7)


def slow_energy(p, image, valid, settings):
    total = 0.0
    for b, y, x in pixels(p):
        for v in range(y - settings.radius, y + settings.radius + 1):
            for u in range(x - settings.radius, x + settings.radius + 1):
                inside = 0 <= v < p.shape[2] and 0 <= u < p.shape[3]
                if (v, u) == (y, x) or not inside or not valid[b, y, x] or not valid[b, v, u]:
                    continue
                far = ((v - y) ** 2 + (u - x) ** 2) / (2 * settings.sigma_position**2)
                unlike = sum((image[b, c, y, x] - image[b, c, v, u]) ** 2 for c in range(image.shape[1]))
                kernel = math.exp(-far - unlike / (2 * settings.sigma_intensity**2))
                total += kernel * sum(p[b, k, y, x] * (1 - p[b, k, v, u]) for k in range(p.shape[1]))
    return total / max(valid.sum(), 1)


def dense_energy(p, image, valid, settings):
    """The same with the whole kernel matrix, for autograd."""
    height, width = p.shape[2:]
    y, x = (at.flatten() for at in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    down, right = (y[:, None] - y).abs(), (x[:, None] - x).abs()
    near = (down <= settings.radius) & (right <= settings.radius) & (down + right > 0)
    unlike = (image.flatten(2)[..., :, None] - image.flatten(2)[..., None, :]).square().sum(dim=1)
    far = (down**2 + right**2) / (2 * settings.sigma_position**2)
    kernel = torch.exp(-far - unlike / (2 * settings.sigma_intensity**2)) * near
    gate = valid.flatten(1)
    kernel = kernel * gate[:, None] * gate[:, :, None]
    q = p.flatten(2)
    return torch.einsum("bij,bki,bkj->", kernel, q, 1 - q) / valid.sum().clamp_min(1)


def draw(share, channels=1, size=(6, 5)):
    torch.manual_seed(1)
    logits = 2 * torch.randn(2, 3, *size, dtype=torch.float64)
    return logits, torch.randn(2, channels, *size, dtype=torch.float64), torch.rand(2, *size) < share


class TestGatedCRF(MethodContract):
    name = "gated_crf"

    def test_the_total_is_m5_and_a_tenth_of_the_energy(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        logits = net(batch.image)
        energy = crf_energy(logits.softmax(dim=1), batch.image * PUBLISHED_DEVIATION, batch.valid, GatedCRFSettings())
        expected = partial_cross_entropy(logits, batch.scribble, batch.valid) + 0.1 * energy
        torch.testing.assert_close(made.losses(batch, 0.5, torch.Generator()).total, expected)


@pytest.mark.parametrize(
    "share, channels, size", [(0.7, 1, (6, 5)), (1.0, 3, (5, 4)), (0.0, 1, (3, 3)), (1.0, 1, (1, 6)), (0.8, 1, (7, 2))]
)
def test_the_energy_is_that_of_a_slow_loop(share, channels, size):
    logits, image, valid = draw(share, channels, size)
    p = logits.softmax(dim=1)
    expected = slow_energy(p.numpy(), image.numpy(), valid.numpy(), SETTINGS)
    assert float(crf_energy(p, image, valid, SETTINGS)) == pytest.approx(expected, abs=1e-9)


def test_the_gradient_is_autograds_of_the_whole_matrix():
    logits, image, valid = draw(0.7)
    one, other = (logits.clone().requires_grad_() for _ in range(2))
    crf_energy(one.softmax(dim=1), image, valid, SETTINGS).backward()
    dense_energy(other.softmax(dim=1), image, valid, SETTINGS).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_two_pixels_by_hand():
    p = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    image, valid = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 2, dtype=torch.bool)
    settings = GatedCRFSettings(sigma_position=1)
    assert float(crf_energy(p, image, valid, settings)) == pytest.approx(math.exp(-0.5))  # two pairs, two pixels
    assert float(crf_energy(p[..., [0, 0]], image, valid, settings)) == 0


def test_a_border_where_the_image_has_one_costs_less():
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:] = 1
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    along = torch.stack([image[:, 0] == 0, image[:, 0] > 0], dim=1).float()
    energies = [crf_energy(p, image, valid, GatedCRFSettings()) for p in (along, along.transpose(2, 3))]
    assert energies[0] < 1e-6 < energies[1]
