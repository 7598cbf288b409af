"""Pictures show what they say."""

import matplotlib.image
import numpy as np
import pytest

from pclmix.labels import IGNORE, colour
from pclmix.pictures import overlay, save_curves, save_panels


def test_labels_are_coloured_and_the_rest_stays_grey():
    image = np.linspace(0, 100, 64).reshape(8, 8)
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4, 2:4] = 1
    rgb = overlay(image, labels, strength=1.0)
    np.testing.assert_allclose(rgb[2, 2], np.array(colour(1)) / 255)
    outside = rgb[labels == 0]
    assert (np.ptp(outside, axis=1) == 0).all() and rgb.min() >= 0 and rgb.max() <= 1


def test_strokes_on_the_background_can_be_seen_among_what_is_not_annotated():
    labels = np.full((8, 8), IGNORE)
    labels[0, 0] = 0
    rgb = overlay(np.random.default_rng(0).normal(size=(8, 8)), labels)
    grey = np.ptp(rgb, axis=2) == 0
    assert not grey[0, 0] and grey.sum() == 63


def test_a_constant_image_is_no_division_by_zero():
    assert np.isfinite(overlay(np.ones((4, 4)), np.zeros((4, 4), int))).all()


@pytest.mark.parametrize("rows", [1, 3])
def test_panels_make_one_picture(tmp_path, rows):
    random = np.random.default_rng(0)
    panels = {
        "image": random.normal(size=(rows, 2, 16, 16)).astype(np.float32),
        "scribble": np.full((rows, 16, 16), IGNORE),
        "uncertainty": random.random((rows, 16, 16)).astype(np.float32),
    }
    save_panels(tmp_path / "a.png", panels, 4)
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.shape[1] > 3 * 100 and picture.shape[0] > rows * 100
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_curves_of_one_run_and_of_two(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text("step,total,supervised,rate\n10,2,1,0.1\n20,1,0.5,0.05\n")
    (tmp_path / "a" / "validation.csv").write_text("step,plain_dice,plain_dice_1,dice\n10,0.5,0.4,\n20,0.6,0.5,0.7\n")
    save_curves(tmp_path / "one.png", {"a": tmp_path / "a"})
    save_curves(tmp_path / "two.png", {"a": tmp_path / "a", "b": tmp_path / "b"})
    assert all(matplotlib.image.imread(tmp_path / f"{name}.png").shape[1] > 500 for name in ("one", "two"))
