"""Paired augmentation: geometry shared by image and label, nothing invented outside the image, chance apart."""

import math

import pytest
import torch

from pclmix.config import AugmentSettings
from pclmix.data.augment import Geometry, _stretch, draw, shade, warp
from pclmix.labels import IGNORE


def source(size=24):
    label = torch.randint(0, 4, (3, size, size), generator=torch.Generator().manual_seed(0))
    return label[:, None].float(), label, torch.ones(3, size, size, dtype=torch.bool)


def marks(label, valid):
    """As `warp` takes them."""
    return torch.where(valid, label + 1, 0).float()


def moved_by(matrix, size, window=24, bend=None, centre=None, swell=None):
    """Positions in a window of crops that lie in its middle."""
    count = len(matrix)
    crop, middle = torch.tensor([size[1] - 1.0, size[0] - 1.0]) / 2, torch.full((2,), (window - 1) / 2)
    frame = torch.cat([matrix, (middle - matrix @ crop)[:, :, None]], dim=2)
    one = torch.ones(count)
    bend = torch.zeros(count, 2, 5, 5) if bend is None else bend
    centre = torch.zeros(count, 2) if centre is None else centre
    return Geometry(bend, frame, centre, one if swell is None else swell, 3 * one).positions(size)


IDENTITY = torch.eye(2).expand(3, 2, 2)


def rotation(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]]).expand(3, 2, 2)


def test_identity_crops_the_centre():
    image, label, valid = source()
    moved, labels, inside = warp(moved_by(IDENTITY, (8, 10)), image, marks(label, valid))
    assert torch.allclose(moved, image[:, :, 8:16, 7:17], atol=1e-5)
    assert torch.equal(labels, label[:, 8:16, 7:17]) and inside.all()


def test_right_angle_moves_image_and_label_alike():
    image, label, valid = source()
    moved, labels, inside = warp(moved_by(rotation(math.pi / 2), (24, 24)), image, marks(label, valid))
    assert inside.all() and torch.allclose(moved[:, 0], labels.float(), atol=1e-3)
    assert torch.equal(labels, label.rot90(1, (1, 2))) or torch.equal(labels, label.rot90(-1, (1, 2)))


def test_what_comes_from_outside_is_invalid_never_background():
    image, label, valid = source()
    image = image + 5
    moved, labels, inside = warp(
        moved_by(rotation(math.pi / 4), (24, 24)), image, marks(torch.zeros_like(label), valid)
    )
    assert 0.7 < inside.float().mean() < 0.95
    assert (labels[~inside] == IGNORE).all() and (labels[inside] == 0).all()
    assert (moved[~inside[:, None]] == 0).all()
    valid[:, :12] = False
    _, labels, inside = warp(moved_by(IDENTITY, (24, 24)), image, marks(label, valid))
    assert not inside[:, :12].any() and (labels[:, :12] == IGNORE).all()


def test_labels_stay_labels():
    image, label, valid = source()
    chance = draw(AugmentSettings(), 3, torch.Generator().manual_seed(1))
    _, labels, _ = warp(moved_by(chance.matrix, (16, 16), bend=chance.bend), image, marks(label, valid))
    assert set(labels.unique().tolist()) <= {0, 1, 2, 3, IGNORE}


def test_same_generator_same_draw_and_shade():
    image, _, valid = source()
    made = []
    for _ in range(2):
        chance = draw(AugmentSettings(), 3, torch.Generator().manual_seed(4))
        made.append((chance.matrix, shade(chance, image, valid)))
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
    assert not torch.equal(made[0][1], image)


def test_settings_of_zero_change_nothing():
    nothing = AugmentSettings(flip=False, rotation=0, scale=0, gamma=0, contrast=0, brightness=0, noise=0, blur=0)
    image, _, valid = source()
    chance = draw(nothing, 3, torch.Generator().manual_seed(0))
    assert torch.allclose(chance.matrix, torch.eye(2).expand(3, 2, 2), atol=1e-6)
    assert torch.allclose(shade(chance, image, valid), image, atol=1e-5)


def test_published_recipe_turns_by_right_angles_or_a_little():
    settings = AugmentSettings(right_angles=True, rotation=20, scale=0)
    matrices = draw(settings, 200, torch.Generator().manual_seed(0)).matrix
    entries = matrices[:, 0, 0].abs()
    square = ((entries < 1e-4) | (entries > 1 - 1e-4)).float().mean()
    small = (entries >= math.cos(math.radians(20)) - 1e-4).float().mean()
    assert 0.35 < square < 0.65 and float(square + small) > 0.7
    assert torch.allclose(torch.linalg.det(matrices).abs(), torch.ones(200), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_a_mean_and_keeps_a_constant(channels):
    chance = draw(AugmentSettings(noise=0, gamma=0, contrast=0, brightness=0, blur=2), 3, torch.Generator())
    flat = torch.full((3, channels, 9, 9), 2.5)
    assert torch.allclose(shade(chance, flat, torch.ones(3, 9, 9, dtype=torch.bool)), flat, atol=1e-4)


def test_stretching_keeps_areas_and_enlarges_along_one_direction_what_it_shrinks_across():
    settings = AugmentSettings(flip=False, rotation=0, scale=0, stretch=0.5)
    matrices = draw(settings, 200, torch.Generator().manual_seed(0)).matrix
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(200), atol=1e-5)
    assert torch.allclose(matrices, matrices.mT)
    largest = torch.linalg.eigvalsh(matrices)[:, 1]
    assert 1.3 < largest.max() <= 1.5 + 1e-5 and largest.min() < 1.1
    factor, direction = torch.tensor([2.0]), torch.tensor([math.pi / 2])
    assert torch.allclose(_stretch(factor, direction), torch.tensor([[[2.0, 0.0], [0.0, 0.5]]]), atol=1e-6)


def test_a_bend_moves_each_pixel_as_its_control_points_say():
    still = moved_by(torch.eye(2)[None], (9, 13))
    bend = torch.zeros(1, 2, 5, 5)
    bend[:, 0] = 0.25
    assert torch.allclose(moved_by(torch.eye(2)[None], (9, 13), bend=bend)[..., 0], still[..., 0] + 3.25, atol=1e-4)
    bend = torch.zeros(1, 2, 5, 5)
    bend[0, 1, 4, 0] = -0.1
    apart = moved_by(torch.eye(2)[None], (9, 13), bend=bend) - still
    assert torch.allclose(apart[0, 8, 0], torch.tensor([0.0, -0.9]), atol=1e-4)
    assert torch.allclose(apart[0, 0, 12], torch.zeros(2), atol=1e-4)


def test_what_lies_at_the_centre_of_a_swelling_is_magnified_and_far_from_it_nothing_moves():
    centre = torch.tensor([[11.0, 11.0]] * 3)
    still = moved_by(IDENTITY, (24, 24))
    seen = moved_by(IDENTITY, (24, 24), centre=centre, swell=torch.tensor([2.0, 0.5, 1.0]))
    assert torch.allclose(seen[:, 11, 11], centre)
    assert torch.equal(seen[2], still[2])
    step = seen[:, 11, 12, 0] - 11  # a pixel beside the centre shows what is half a pixel, two pixels, one pixel away
    assert torch.allclose(step, torch.tensor([0.5, 2.0, 1.0]), atol=0.06)
    assert (seen - still)[:, 23, 23].abs().max() < 0.01
    assert (seen[..., 0].diff(dim=2) > 0).all() and (seen[..., 1].diff(dim=1) > 0).all()  # nothing is folded over


def test_image_and_label_are_bent_alike():
    label = torch.arange(24).expand(3, 24, 24)
    valid = torch.ones(3, 24, 24, dtype=torch.bool)
    chance = draw(AugmentSettings(elastic=0.03, stretch=0.3), 3, torch.Generator().manual_seed(2))
    moved, labels, inside = warp(
        moved_by(chance.matrix, (16, 16), bend=chance.bend), label[:, None].float(), marks(label, valid)
    )
    assert chance.bend.std() > 0.01 and inside.float().mean() > 0.8
    inner = inside & (labels > 0) & (labels < 23)  # beyond the border the image fades to 0
    assert (moved[:, 0] - labels.float()).abs()[inner].max() < 0.51
