import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source

from pclmix.compare import random_walker as module
from pclmix.compare.mumford_shah import PUBLISHED_DEVIATION
from pclmix.compare.random_walker import RandomWalkerSettings, grow
from pclmix.data.crops import crop_labels
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy

SPACING = (1.5, 1.5)


def slow_grow(image, strokes, spacing, beta):
    """Grady's linear system as a dense matrix; the spacing divides the difference of intensity."""
    height, width = strokes.shape
    matrix = np.eye(height * width)
    classes = sorted(set(strokes.ravel().tolist()) - {IGNORE})
    right_side = np.zeros((height * width, len(classes)))
    for y in range(height):
        for x in range(width):
            row = y * width + x
            if strokes[y, x] != IGNORE:
                right_side[row, classes.index(strokes[y, x])] = 1
                continue
            matrix[row, row] = 0
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    step = (spacing[0] if u == x else spacing[1]) / min(spacing)
                    change = sum((float(c[y, x]) - float(c[v, u])) ** 2 for c in image) * PUBLISHED_DEVIATION**2
                    weight = np.exp(-beta * change / step**2) + 1e-10
                    matrix[row, row] += weight
                    matrix[row, v * width + u] = -weight
    reached = np.linalg.solve(matrix, right_side)
    return np.array(classes)[reached.argmax(axis=1)].reshape(height, width)


def draw(channels=1, size=(9, 7), seed=0):
    random = np.random.default_rng(seed)
    strokes = np.full(size, IGNORE, np.uint8)
    strokes[1, 1:4], strokes[6, 2:5], strokes[4, 6] = 0, 3, 1
    return random.normal(0, 1, (channels, *size)).astype(np.float16), strokes


class TestRandomWalker(MethodContract):
    name = "random_walker"

    def test_the_total_is_cross_entropy_on_the_grown_labels(self):
        plan = make_plan()
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        batch = source.batch(0)
        places = range(len(source.slices))
        grown = [grow(source.image(place), source.strokes(place), plan.spacing, 100) for place in places]
        expected = partial_cross_entropy(net(batch.image), crop_labels(grown, batch), batch.valid)
        torch.testing.assert_close(made.losses(batch, 0.5, torch.Generator()).total, expected)

    def test_a_second_run_grows_nothing(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path))
        plan = make_plan()
        first, net = self.make(plan)
        monkeypatch.setattr(module, "grow", lambda *_: pytest.fail("grown again"))
        second, _ = self.make(plan)
        assert len(first.grown) == 6 and all(map(np.array_equal, first.grown, second.grown))
        assert len(list(tmp_path.iterdir())) == 2

        monkeypatch.undo()
        monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path))
        other = self.method(net, plan, RandomWalkerSettings(beta=3))
        other.prepare(make_source(plan))
        assert len(list(tmp_path.iterdir())) == 4

    def test_other_strokes_of_the_same_case_are_grown_anew(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path))
        plan = make_plan()
        self.make(plan)
        source = make_source(plan)
        label = source.cases[0].label.copy()
        label[0, 5:7] = IGNORE
        label[0, 20:22] = source.cases[0].dense[0, 20:22]
        source.cases[0] = replace(source.cases[0], label=label)
        made, _ = self.make(plan, source=source)
        assert len(list(tmp_path.iterdir())) == 3
        assert np.array_equal(made.grown[0][20:22], label[0, 20:22])


@pytest.mark.parametrize("channels, spacing, beta", [(1, SPACING, 100), (3, (1.0, 2.0), 20), (1, (2.0, 1.0), 0)])
def test_growing_is_the_dense_linear_system(channels, spacing, beta):
    image, strokes = draw(channels)
    assert np.array_equal(grow(image, strokes, spacing, beta), slow_grow(image, strokes, spacing, beta))


def test_labels_stop_at_the_edges_of_the_image():
    image = np.zeros((1, 12, 12), np.float16)
    image[0, 3:9, 3:9] = 2
    strokes = np.full((12, 12), IGNORE, np.uint8)
    strokes[0, 2:8], strokes[5, 4:7] = 0, 2
    grown = grow(image, strokes, SPACING, 100)
    assert np.array_equal(grown, np.where(image[0] > 0, 2, 0))


def test_the_scale_of_a_slice_is_not_evened_out():
    image, strokes = draw(size=(20, 20), seed=4)
    assert not np.array_equal(grow(image, strokes, SPACING, 100), grow(image / 30, strokes, SPACING, 100))


@pytest.mark.parametrize("kind", ["background alone", "foreground alone", "all drawn", "constant", "enclosed"])
def test_what_cannot_be_grown_is_left_and_nothing_warns(kind):
    image, strokes = draw()
    expected = strokes
    if kind == "background alone":
        strokes, expected = strokes.copy(), np.zeros_like(strokes)
        strokes[strokes != IGNORE] = 0
    elif kind == "foreground alone":
        expected = strokes = np.where(strokes == 3, strokes, IGNORE).astype(np.uint8)
    elif kind == "all drawn":
        expected = strokes = (np.arange(63).reshape(9, 7) % 3).astype(np.uint8)
    elif kind == "constant":
        image = np.ones_like(image)
    else:
        strokes = np.zeros((9, 7), np.uint8)
        strokes[3:6, 3:6], strokes[4, 4], strokes[8, 6] = 2, IGNORE, IGNORE
        expected = strokes.copy()
        expected[4, 4], expected[8, 6] = 2, 0
    before = strokes.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grown = grow(image, strokes, SPACING, 100)
    assert np.array_equal(grown, expected) and grown.dtype == np.uint8
    assert np.array_equal(strokes, before)
