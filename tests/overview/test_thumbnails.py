"""Outlines to the pixel, and a strip that shows the structures."""

import numpy as np
from PIL import Image

from pclmix.labels import colour
from pclmix.overview.thumbnails import GAP, HEIGHT, outline, save_thumbnails


def test_an_outline_is_the_edge_of_each_structure_from_within():
    labels = np.zeros((6, 6), np.uint8)
    labels[1:5, 1:5] = 1
    labels[2:4, 2:4] = 2
    expected = np.array([
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 2, 2, 1, 0],
        [0, 1, 2, 2, 1, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ])  # fmt: skip
    np.testing.assert_array_equal(outline(labels), expected)
    assert not outline(np.ones((4, 4), np.uint8)).any()  # the edge of the image is no edge of a structure
    labels[1:5, 1:5] = 3
    assert (outline(labels) > 0).sum() == 12


def shown(path):
    return np.asarray(Image.open(path))


def test_the_strip_shows_outlines_in_the_classes_colours(tmp_path):
    labels = np.zeros((9, 60, 40), np.uint8)
    labels[2:7, 20:40, 10:30] = 2
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    save_thumbnails(tmp_path / "strip.png", image, labels, (1.0, 1.5))
    strip = shown(tmp_path / "strip.png")
    assert strip.shape == (HEIGHT, 3 * HEIGHT + 2 * GAP, 3)
    marked = (strip == colour(2)).all(axis=2)
    for start in (0, HEIGHT + GAP, 2 * (HEIGHT + GAP)):
        assert marked[:, start : start + HEIGHT].any()
    assert (strip[:, HEIGHT : HEIGHT + GAP] == 255).all()


def test_nothing_segmented_and_odd_shapes_are_shown_all_the_same(tmp_path):
    for shape in ((1, 40, 8), (3, 1, 50), (2, 7, 7)):
        save_thumbnails(tmp_path / "strip.png", np.zeros(shape, np.float32), np.zeros(shape, np.uint8), (1.0, 1.0))
        strip = shown(tmp_path / "strip.png")
        count = min(shape[0], 3)
        assert strip.shape == (HEIGHT, count * (HEIGHT + GAP) - GAP, 3)  # no slice twice
