"""Borders go to the edges of the image where strokes tell what an edge is, and stay where they do not."""

import numpy as np
import pytest

from pclmix.labels import IGNORE
from pclmix.method.edges import CONTRAST, UNLIKE, draw_to_edges, grey_values, most_uniform

SIDE = 64
FLAT = (1.0, 1.0)
ROW, COLUMN = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5


def rings(inner, outer, pixel=FLAT):
    """A cavity (2) in a wall (1): labels (1, H, W) of radii in pixels of the plan."""
    away = np.hypot(ROW * pixel[0], COLUMN * pixel[1])
    return np.where(away < inner, 2, np.where(away < outer, 1, 0)).astype(np.uint8)[None]


def scene(inner, outer, pixel=FLAT, bright=1.0, noise=0.05):
    """Image (1, 1, H, W) of such rings, the cavity bright, the wall dark; and strokes in the middle of each."""
    truth = rings(inner, outer, pixel)
    greys = np.array([0.4, 0.0, bright])[truth[0]]
    image = greys + np.random.default_rng(0).normal(0, noise, greys.shape)
    away = np.hypot(ROW * pixel[0], COLUMN * pixel[1])
    strokes = np.full_like(truth, IGNORE)
    strokes[0][np.abs(away - (inner + outer) / 2) < 0.7 * max(pixel)] = 1
    strokes[0][away < 3] = 2
    strokes[0][np.abs(away - outer - 8) < 0.7] = 0
    return truth, image[None, None], strokes


def radius(label, pixel=FLAT):
    return np.sqrt(label.sum() * pixel[0] * pixel[1] / np.pi)


# A move of two pixels is expected less, so it goes most of the way.
@pytest.mark.parametrize(("wrong", "left"), [(-2.0, 0.5), (-1.0, 0.25), (1.0, 0.25), (2.0, 0.9)])
@pytest.mark.parametrize("pixel", [FLAT, (0.6, 0.6), (1.0, 0.7)])
def test_a_border_drawn_too_far_in_or_out_goes_to_the_edge(wrong, left, pixel):
    truth, image, strokes = scene(11, 17, pixel)
    drawn = draw_to_edges(rings(11 + wrong, 17, pixel), image, strokes, 1, pixel)
    assert radius(drawn == 2, pixel) == pytest.approx(11, abs=left)
    assert (drawn > 0).sum() == (truth > 0).sum()  # the wall's outer border has no other structure beside it


def test_brighter_or_darker_is_the_same():
    for bright in (1.0, -1.0):
        _, image, strokes = scene(11, 17, bright=bright)
        assert radius(draw_to_edges(rings(9, 17), image, strokes, 1, FLAT) == 2) == pytest.approx(11, abs=0.35)


def test_a_border_with_the_background_moves_to_the_edge_too_and_leaves_background():
    truth = np.where(COLUMN < 0, 2, 0).astype(np.uint8)[None]
    truth[0, :, :6] = 1
    image = np.array([0.0, 0.0, 1.0])[truth[0]][None, None] + np.random.default_rng(1).normal(0, 0.05, (SIDE, SIDE))
    strokes = np.full_like(truth, IGNORE)
    strokes[0, 20:40, 2], strokes[0, 20:40, 15] = 1, 2
    wrong = truth.copy()
    wrong[0, :, 32:33] = 2
    drawn = draw_to_edges(wrong, image, strokes, 1, FLAT)
    assert (drawn[0, 8:-8] == truth[0, 8:-8]).mean() > 0.999


def test_the_channel_that_tells_them_apart_counts():
    _, image, strokes = scene(11, 17)
    blind = np.random.default_rng(2).normal(0, 0.05, image.shape)
    for channels in ([image, blind], [blind, image]):
        drawn = draw_to_edges(rings(9, 17), np.concatenate(channels, axis=1), strokes, 1, FLAT)
        assert radius(drawn == 2) == pytest.approx(11, abs=0.35)


@pytest.mark.parametrize("why", ["alike", "no stroke of it", "no stroke of the uniform one", "strokes of four pixels"])
def test_a_border_stays_where_nothing_tells(why):
    _, image, strokes = scene(11, 17, bright=(CONTRAST - 1) * 0.05 if why == "alike" else 1.0)
    if why == "no stroke of it":
        strokes[strokes == 2] = IGNORE
    elif why == "no stroke of the uniform one":
        strokes[strokes == 1] = IGNORE
    elif why == "strokes of four pixels":
        rest = np.flatnonzero(strokes == 2)[4:]
        strokes.ravel()[rest] = IGNORE
    wrong = rings(9, 17)
    np.testing.assert_array_equal(draw_to_edges(wrong, image, strokes, 1, FLAT), wrong)


def test_what_lies_beyond_another_class_is_not_taken():
    _, image, strokes = scene(11, 13)
    image[0, 0][np.hypot(ROW, COLUMN) >= 13] = 1.0  # as bright as the cavity, two pixels away
    drawn = draw_to_edges(rings(10, 13), image, strokes, 1, FLAT)
    assert not ((drawn[0] == 2) & (np.hypot(ROW, COLUMN) >= 13)).any()


def test_each_slice_goes_by_its_own_strokes_and_none_of_the_arguments_changes():
    _, image, strokes = scene(11, 17)
    stack, drawn_on = np.concatenate([image, image + 5]), np.repeat(strokes, 2, axis=0)
    wrong = np.repeat(rings(9, 17), 2, axis=0)
    before = wrong.copy()
    drawn = draw_to_edges(wrong, stack, drawn_on, 1, FLAT)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(wrong, before)


def test_empty_labels_and_labels_of_one_class_alone_stay():
    _, image, strokes = scene(11, 17)
    for value in (0, 1, 2):
        plain = np.full((1, SIDE, SIDE), value, np.uint8)
        np.testing.assert_array_equal(draw_to_edges(plain, image, strokes, 1, FLAT), plain)


def test_grey_values_by_slice_and_their_spread_about_them():
    random = np.random.default_rng(0)
    strokes = np.full((2, 40, 40), IGNORE, np.uint8)
    strokes[:, :20], strokes[:, 20:30], strokes[:, 35:] = 1, 2, 0
    image = np.where(strokes == 1, 10.0, 20.0)[:, None] + random.normal(0, 1, (2, 1, 40, 40))
    image[1] += 7  # as coils make it
    found = grey_values(image, strokes)
    assert found.medians.keys() == {(0, 1), (0, 2), (1, 1), (1, 2)}  # background is no structure
    assert found.medians[1, 1][0] - found.medians[0, 1][0] == pytest.approx(7, abs=0.2)
    assert found.spreads[1][0] == pytest.approx(1, rel=0.1)


def test_the_most_uniform_structure_is_that_of_most_volumes():
    strokes = np.full((1, 40, 40), IGNORE, np.uint8)
    strokes[0, :10], strokes[0, 20:30] = 1, 2

    def volume(first, second):
        deviation = np.where(strokes == 1, first, second)[:, None]
        return grey_values(np.random.default_rng(0).normal(0, 1, (1, 1, 40, 40)) * deviation, strokes)

    assert most_uniform([volume(1, 2), volume(1, 3), volume(4, 1)]) == 1
    assert most_uniform([volume(2, 1)]) == 2
    only = np.where(strokes == 1, strokes, IGNORE)
    assert most_uniform([grey_values(np.zeros((1, 1, 40, 40)), only)]) is None
    assert most_uniform([]) is None
    assert UNLIKE < CONTRAST  # else a structure just told apart would look like the other everywhere
