"""The quick forms against the plain ones that they replaced: values and gradients, to the rounding stated."""

import pytest
import torch
from torch.nn import functional

from pclmix.averaging import AveragedWeights
from pclmix.labels import IGNORE
from pclmix.method.consistency import decoder_difference
from pclmix.method.contrast import cell_labels, cell_majority, pixel_contrast, select_anchors
from pclmix.method.memory import Memory
from pclmix.method.uncertainty import most_likely


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plain_contrast(anchors, labels, counted, memory, temperature):
    """M3 with a mask of positives and one of negatives, each as large as the similarities."""
    classes, size, dimension = memory.keys.shape
    valid = memory.valid().flatten()
    owner = torch.arange(classes).repeat_interleave(size)
    similarity = anchors @ memory.keys.reshape(-1, dimension).T / temperature
    positive, negative = valid & (owner == labels[:, None]), valid & (owner != labels[:, None])
    counted = counted & positive.any(dim=1) & negative.any(dim=1)
    lowest = torch.finfo(similarity.dtype).min
    others = torch.logsumexp(torch.where(negative, similarity, lowest), dim=1, keepdim=True)
    terms = torch.logaddexp(similarity, others) - similarity
    loss = (terms * positive).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)


def filled(counts, size=6, dimension=8):
    """A memory into which so many keys of each class were put; more than `size` of them wrap."""
    memory = Memory(len(counts), size, dimension)
    keys = functional.normalize(torch.randn(max(counts), len(counts), dimension, generator=generator(1)), dim=2)
    memory.enqueue(keys, torch.arange(max(counts))[:, None] < torch.tensor(counts))
    return memory


@pytest.mark.parametrize("temperature", [0.02, 0.07, 1.0])
@pytest.mark.parametrize("counts", [[0, 3, 6, 9], [4, 6], [0, 0, 5, 0], [2, 0, 0], [1, 1, 1, 1, 1]])
def test_m3_gathers_its_positives_as_if_it_masked_them(counts, temperature):
    memory = filled(counts)
    labels = torch.tensor([*range(len(counts))] * 3 + [IGNORE])
    anchors = functional.normalize(torch.randn(len(labels), 8, generator=generator(2)), dim=1)
    counted = torch.arange(len(labels)) != 1
    results = []
    for contrast in (plain_contrast, pixel_contrast):
        leaf = anchors.clone().requires_grad_()
        loss = contrast(leaf, labels, counted, memory, temperature)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=1e-6)
    several = sum(count > 0 for count in counts) > 1
    assert bool(results[1][1].any()) == several and torch.isfinite(results[1][1]).all()


def test_m3_is_that_of_the_keys_alone_whatever_lies_in_empty_slots():
    memory, other = filled([0, 2, 3, 4]), filled([0, 2, 3, 4])
    other.keys[~other.valid()] = 50.0
    anchors = functional.normalize(torch.rand(6, 8, generator=generator(2)), dim=1)
    labels, counted = torch.tensor([1, 2, 3, 1, 2, 3]), torch.ones(6, dtype=torch.bool)
    first, second = (pixel_contrast(anchors, labels, counted, kept, 0.07) for kept in (memory, other))
    assert torch.equal(first, second)


def test_m3_without_an_anchor_is_zero():
    anchors = torch.zeros(0, 8, requires_grad=True)
    loss = pixel_contrast(
        anchors, torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool), filled([2, 2]), 1
    )
    loss.backward()
    assert float(loss.detach()) == 0 and anchors.grad.shape == (0, 8)


def test_anchors_that_do_not_count_are_left_out_and_change_nothing():
    cells = torch.randint(0, 4, (3, 8, 8), generator=generator())
    cells[torch.rand(3, 8, 8, generator=generator(1)) < 0.5] = IGNORE
    index, counted = select_anchors(cells, cells.flip(0), torch.tensor([1, 2, 3]), 10, 150, generator(2))
    assert counted.all() and 0 < len(index) < 90
    embedding = functional.normalize(torch.randn(192, 8, generator=generator(3)), dim=1)
    rest = torch.tensor(sorted(set(range(192)) - set(index.tolist())))
    all_of_them, which = torch.cat([index, rest]), torch.arange(192) < len(index)
    memory, labels = filled([0, 6, 6, 6]), cells.flatten()
    few = pixel_contrast(embedding[index], labels[index], counted, memory, 0.07)
    many = pixel_contrast(embedding[all_of_them], labels[all_of_them], which, memory, 0.07)
    torch.testing.assert_close(few, many)


def plain_counts(labels, classes, stride):
    """Pixels of each class in each cell, one pixel at a time."""
    batch, height, width = labels.shape
    counts = torch.zeros(batch, classes, -(-height // stride), -(-width // stride), dtype=torch.long)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                if labels[b, y, x] != IGNORE:
                    counts[b, labels[b, y, x], y // stride, x // stride] += 1
    return counts


@pytest.mark.parametrize("size, stride, classes", [((16, 24), 8, 4), ((13, 19), 8, 3), ((7, 5), 2, 7)])
def test_cells_are_counted_pixel_by_pixel(size, stride, classes):
    certain = torch.randint(0, classes, (2, *size), generator=generator())
    certain[torch.rand(2, *size, generator=generator(1)) < 0.3] = IGNORE
    certain[:, :stride, :stride] = 1  # one cell that is sure
    scribble = torch.where(torch.rand(2, *size, generator=generator(2)) < 0.03, certain.flip(0), IGNORE)
    guesses, strokes = plain_counts(certain, classes, stride), plain_counts(scribble, classes, stride)
    most = guesses.max(dim=1).values
    majority = torch.where(most > stride**2 - guesses.sum(dim=1), guesses.argmax(dim=1), IGNORE)
    assert torch.equal(cell_majority(certain, classes, stride), majority)
    expected = torch.where(strokes.sum(dim=1) > 0, strokes.argmax(dim=1), majority)
    assert torch.equal(cell_labels(certain, scribble, classes, stride), expected)
    assert (expected != majority).any() and (expected != IGNORE).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_most_likely_is_argmax_ties_included(layout):
    scores = torch.randint(0, 3, (2, 5, 9, 8), generator=generator()).float().contiguous(memory_format=layout)
    assert torch.equal(most_likely(scores), scores.argmax(dim=1))


def test_m8_of_all_pixels_at_once_is_the_mean_over_classes_then_pixels():
    main, auxiliary = (torch.randn(2, 3, 9, 8, generator=generator(seed)) * 5 for seed in (0, 1))
    valid = torch.rand(2, 9, 8, generator=generator(2)) < 0.7
    results = []
    for plain in (True, False):
        leaf = main.clone().requires_grad_()
        squares = (leaf - auxiliary).square().mean(dim=1)
        loss = (squares * valid).sum() / valid.sum() if plain else decoder_difference(leaf, auxiliary, valid)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-7)


def test_averaged_weights_are_those_of_a_loop():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Linear(4, 2))
    averaged = AveragedWeights(net, window=5.0)
    expected = [value.clone() for value in averaged.net.parameters()]
    for step in range(40, 44):
        with torch.no_grad():
            for value in net.parameters():
                value.add_(torch.randn_like(value))
        net[1](torch.randn(4, 3, 6, 6))
        averaged.update(net, step)
        expected = [mine + (value.detach() - mine) / 5 for mine, value in zip(expected, net.parameters(), strict=True)]
    torch.testing.assert_close(list(averaged.net.parameters()), expected)
    assert all(torch.equal(a, b) for a, b in zip(averaged.net.buffers(), net.buffers(), strict=True))
    assert averaged.net[1].num_batches_tracked == 4
