import itertools
import math

import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import m5, pixels, softmax

from pclmix.compare.cyclemix import cosine_distance, draw_occlusion, largest_components, one_hot
from pclmix.compare.puzzle_mix import (
    Puzzle,
    block_saliency,
    boundary,
    cut,
    draw_puzzle,
    least_energy,
    mix,
    move_blocks,
    moves,
)
from pclmix.labels import IGNORE

RANDOM = np.random.default_rng(0)


def slow_mix(puzzle, values, fill):
    """A block at a time, from the definition alone."""
    block, (height, width) = puzzle.tile, values.shape[-2:]
    rows, columns = puzzle.kept.shape[1:]
    out = torch.full((*values.shape[:-2], rows * block, columns * block), float(fill), dtype=values.dtype)
    whole = out.clone()
    whole[..., :height, :width] = values
    for b in range(len(values)):
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            kept = puzzle.kept[b, row, column]
            item, source = (b, puzzle.own[b, place]) if kept else (int(puzzle.partner[b]), puzzle.others[b, place])
            y, x = divmod(int(source), columns)
            shown = whole[item, ..., y * block : (y + 1) * block, x * block : (x + 1) * block]
            out[b, ..., row * block : (row + 1) * block, column * block : (column + 1) * block] = shown
    return out[..., :height, :width]


def energy(z, own, others, edges, ratio, beta):
    height, width = own.shape
    total = 0.0
    for i, j in itertools.product(range(height), range(width)):
        total += others[i, j] if z[i, j] else own[i, j]
        total -= 0.2 / (height * width) * math.log((ratio if z[i, j] else 1 - ratio) + 1e-8)
        for axis, (k, m) in enumerate(((i + 1, j), (i, j + 1))):
            if k < height and m < width:
                d = edges[int(z[i, j])][int(z[k, m])][axis][i, j]
                total += beta * (float(z[i, j] != z[k, m]) + 0.5 * d)
    return total


def masks(height, width):
    for bits in itertools.product((False, True), repeat=height * width):
        yield np.array(bits).reshape(height, width)


class TestCycleMix(MethodContract):
    name = "cyclemix"

    def test_the_total_is_the_equation(self):
        plan = make_plan(crop=(16, 16))
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.5, torch.Generator().manual_seed(3))
        scribble = torch.where(batch.valid, batch.scribble, IGNORE)
        logits, saliency = net(batch.image, scribble)
        generator = torch.Generator().manual_seed(3)
        puzzle = draw_puzzle(batch.image, saliency * batch.valid, generator)
        hidden = draw_occlusion(4, (16, 16), 32 / 212, generator)
        valid = slow_mix(puzzle, batch.valid, False) & ~hidden
        mixed, _ = net(slow_mix(puzzle, batch.image, 0.0).masked_fill(hidden[:, None], 0.0))
        logits, mixed = logits.detach(), mixed.detach()
        supervised = m5(logits.numpy(), batch.scribble.numpy(), batch.valid.numpy())
        on_mixed = m5(mixed.numpy(), slow_mix(puzzle, batch.scribble, IGNORE).numpy(), valid.numpy())
        p, q = logits.softmax(1), mixed.softmax(1)
        wide = self.slow_cosine(q, slow_mix(puzzle, p, 0.0), valid)
        local = self.slow_cosine(p, one_hot(largest_components(p), p), batch.valid)
        wanted = {"supervised": supervised, "mixed": on_mixed, "global": wide, "local": local}
        assert {name: value.item() for name, value in losses.terms.items()} == pytest.approx(wanted, rel=1e-4)
        assert losses.total.item() == pytest.approx(supervised + on_mixed + 0.1 * wide + 0.1 * local, rel=1e-4)

    @staticmethod
    def slow_cosine(first, second, valid):
        terms = []
        for b, y, x in pixels(first):
            if valid[b, y, x]:
                u, v = first[b, :, y, x].tolist(), second[b, :, y, x].tolist()
                lengths = math.hypot(*u) * math.hypot(*v)
                terms.append(1 - sum(i * j for i, j in zip(u, v, strict=True)) / lengths)
        return sum(terms) / len(terms)

    def test_the_saliency_is_the_gradient_of_the_supervised_loss(self):
        plan = make_plan(channels=2)
        _, net = self.make(plan, source=make_source(plan))
        net.eval().double()
        batch = make_source(plan).batch(0)
        target = torch.where(batch.valid, batch.scribble, IGNORE)
        image = batch.image.double()
        _, saliency = net(image, target)

        def loss(image):
            logits = net(image)[0].detach()
            terms = [-math.log(softmax(logits[b, :, y, x].tolist())[target[b, y, x]]) for b, y, x in annotated]
            return sum(terms)

        annotated = [place for place in pixels(np.zeros((4, 1, 32, 32))) if target[place] != IGNORE]
        b, y, x = annotated[3]
        squares = []
        for channel in range(2):
            up, down = image.clone(), image.clone()
            up[b, channel, y, x] += 1e-5
            down[b, channel, y, x] -= 1e-5
            squares.append(((loss(up) - loss(down)) / 2e-5) ** 2)
        assert saliency[b, y, x].item() == pytest.approx(math.sqrt(sum(squares) / 2), rel=1e-3)

    def test_the_gradient_for_the_saliency_is_not_the_weights(self):
        plan = make_plan()
        _, net = self.make(plan)
        batch = make_source(plan).batch(0)
        net(batch.image, batch.scribble)
        assert all(p.grad is None for p in net.parameters()) and batch.image.grad is None


@pytest.mark.parametrize("seed", range(8))
def test_the_cut_has_the_least_energy_of_all_masks(seed):
    random = np.random.default_rng(seed)
    shape = (3, 3) if seed % 2 else (2, 5)
    own, others = (random.dirichlet(np.ones(shape[0] * shape[1])).reshape(shape) for _ in range(2))
    # A metric of the sides of the edge, so that no pair would rather be cut.
    low, high = random.random((2, 3, *shape)), random.random((2, 3, *shape))
    edges = [
        [
            (
                np.abs(low[a] - high[b]).mean(0)[:-1] * (a != b),
                np.abs(low[a] - high[b]).mean(0)[:, :-1] * (a != b),
            )
            for b in (0, 1)
        ]
        for a in (0, 1)
    ]
    ratio, beta = random.random(), 0.05
    before = own.copy()
    found = cut(own, others, edges, ratio, beta)
    best = min(energy(z, own, others, edges, ratio, beta) for z in masks(*shape))
    assert energy(found, own, others, edges, ratio, beta) == pytest.approx(best, abs=1e-5)
    assert (own == before).all()


def test_edges_that_differ_on_both_sides_enter_the_energy():
    """With d of any kind the cut agrees with all masks as long as no pair would rather be cut."""
    random = np.random.default_rng(5)
    own, others = random.random((2, 2, 3)) / 6
    edges = [[(random.random((1, 3)), random.random((2, 2))) for _ in (0, 1)] for _ in (0, 1)]
    found = cut(own, others, edges, 0.4, 0.1)  # β + βγ(...)/2 > 0 since |...| < 2
    best = min(energy(z, own, others, edges, 0.4, 0.1) for z in masks(2, 3))
    assert energy(found, own, others, edges, 0.4, 0.1) == pytest.approx(best, abs=1e-5)


def test_a_pair_that_would_rather_be_cut_is_free():
    first, second = np.array([0]), np.array([1])
    found = least_energy(np.array([0.3, 0.1]), np.array([0.1, 0.3]), first, second, np.array([-5.0]))
    assert found.tolist() == [True, False]


def test_lambda_at_its_ends_shows_one_image():
    own, others = (RANDOM.dirichlet(np.ones(16)).reshape(4, 4) for _ in range(2))
    edges = [[(np.zeros((3, 4)), np.zeros((4, 3)))] * 2] * 2
    flat = np.full((4, 4), 1 / 16)
    assert cut(flat, flat, edges, 1.0, 0.0).all() and not cut(flat, flat, edges, 0.0, 0.0).any()
    assert (cut(own, others, edges, 0.5, 0.0) == (own > others)).all()


def test_moves_are_the_best_of_all_permutations():
    salient, shown = RANDOM.random((2, 3)), np.array([[True, False, True], [False, False, True]])

    def cost(source):
        total = 0.0
        for place, origin in enumerate(source):
            squared = sum((a - b) ** 2 for a, b in zip(divmod(place, 3), divmod(origin, 3), strict=True))
            total += 0.8 * squared / 4 - salient.ravel()[origin] * shown.ravel()[place]
        return total

    found = moves(salient, shown)
    assert sorted(found) == list(range(6))
    assert cost(found) == pytest.approx(min(cost(source) for source in itertools.permutations(range(6))))


def test_without_saliency_nothing_moves():
    assert moves(np.zeros((3, 4)), RANDOM.random((3, 4)) < 0.5).tolist() == list(range(12))


def test_the_boundary_is_the_difference_of_strips():
    first, second = torch.rand(2, 2, 16, 24, generator=torch.Generator().manual_seed(0))
    under, right = boundary(first, second, 8)
    assert under.shape == (1, 3) and right.shape == (2, 2)
    terms = []
    for channel in range(2):
        for column in (8, 12):
            above = first[channel, 4:8, column : column + 4].mean()
            below = second[channel, 8:12, column : column + 4].mean()
            terms.append(abs(float(above - below)))
    assert under[0, 1] == pytest.approx(sum(terms) / 4, rel=1e-5)
    terms = [
        abs(float(first[c, y : y + 4, 12:16].mean() - second[c, y : y + 4, 16:20].mean()))
        for c in (0, 1)
        for y in (8, 12)
    ]
    assert right[1, 1] == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_a_blocks_saliency_is_its_share():
    saliency = torch.rand(2, 10, 7, generator=torch.Generator().manual_seed(0))
    saliency[1] = 0
    shares = block_saliency(saliency, 4)
    assert shares.shape == (2, 3, 2)
    assert shares[0, 2, 1].item() == pytest.approx(float(saliency[0, 8:, 4:].sum() / saliency[0].sum()), rel=1e-5)
    torch.testing.assert_close(shares[1], torch.full((3, 2), 1 / 6))


@pytest.mark.parametrize("size", [(16, 16), (18, 11), (5, 40)])
def test_mixing_puts_every_block_where_the_puzzle_says(size):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, 2, *size, generator=generator)
    puzzle = draw_puzzle(image, torch.rand(3, *size, generator=generator), generator)
    blocks = puzzle.kept[0].numel()
    puzzle = puzzle._replace(
        kept=torch.rand(puzzle.kept.shape, generator=generator) < 0.5,
        own=torch.stack([torch.randperm(blocks, generator=generator) for _ in range(3)]),
    )
    label = torch.randint(0, 4, (3, *size), generator=generator)
    assert torch.equal(mix(puzzle, image, 0.0), slow_mix(puzzle, image, 0.0))
    assert torch.equal(mix(puzzle, label, IGNORE), slow_mix(puzzle, label, IGNORE))


@pytest.mark.parametrize("seed", range(6))
def test_a_puzzle_keeps_whole_blocks_and_uses_every_tile_once(seed):
    generator = torch.Generator().manual_seed(seed)
    image, saliency = torch.rand(4, 1, 48, 100, generator=generator), torch.rand(4, 48, 100, generator=generator) ** 9
    count = 2 ** int(torch.randint(1, 5, (1,), generator=torch.Generator().manual_seed(seed + 50)))
    puzzle = draw_puzzle(image, saliency, torch.Generator().manual_seed(seed + 50))
    assert puzzle.tile == 8 and puzzle.kept.shape == (4, 6, 13)
    parts = 16 // count
    for row in range(0, 6, parts):
        for column in range(0, 13, parts):
            block = puzzle.kept[:, row : row + parts, column : column + parts].flatten(1)
            assert torch.equal(block.all(dim=1), block.any(dim=1))
    for source in (puzzle.own, puzzle.others):
        assert torch.equal(source.sort(dim=1).values, torch.arange(78).expand(4, 78))


def test_a_puzzle_of_itself_is_the_identity():
    image = torch.rand(2, 1, 13, 9, generator=torch.Generator().manual_seed(0))
    still = torch.arange(12).expand(2, 12)
    puzzle = Puzzle(torch.tensor([1, 0]), torch.ones(2, 4, 3, dtype=torch.bool), still, still, 4)
    assert torch.equal(mix(puzzle, image, 0.0), image)
    assert torch.equal(mix(puzzle._replace(kept=~puzzle.kept), image, 0.0), image[[1, 0]])


def test_blocks_stay_whole():
    values = torch.arange(64.0).view(1, 8, 8)
    moved = move_blocks(values, torch.tensor([[3, 0, 1, 2]]), 4)
    assert torch.equal(moved[0, :4, :4], values[0, 4:, 4:]) and torch.equal(moved[0, :4, 4:], values[0, :4, :4])


def test_a_salient_block_moves_to_where_its_image_is_shown():
    salient = np.full((4, 4), 1e-3)
    salient[1, 1] = 0.9
    shown = np.zeros((4, 4), bool)
    shown[1, 2] = True
    assert moves(salient, shown).reshape(4, 4)[1, 2] == 5


def test_the_occlusion_is_a_turned_square_of_its_side():
    hidden = draw_occlusion(200, (40, 60), 0.25, torch.Generator().manual_seed(0))
    areas = hidden.sum(dim=(1, 2))
    assert areas.max() <= 122 and abs(areas.float().quantile(0.9) - 100) < 8
    whole = hidden[areas > 95]
    spans = whole.any(dim=2).sum(dim=1)
    assert spans.min() >= 9 and 13 <= spans.max() <= 15  # between the side and the diagonal
    assert torch.equal(hidden, draw_occlusion(200, (40, 60), 0.25, torch.Generator().manual_seed(0)))


def test_cosine_distance_by_hand():
    first, second = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([4.0, 3.0]).view(1, 2, 1, 1)
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    assert cosine_distance(first, second, valid).item() == pytest.approx(1 - 24 / 25)
    assert cosine_distance(first, first, valid).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance(first, second, ~valid) == 0


def test_only_the_largest_component_of_a_foreground_class_stays():
    labels = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [2, 0, 2, 2], [0, 2, 0, 0]])
    found = largest_components(one_hot(labels[None], torch.zeros(1, 3, 4, 4)))
    assert found[0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]]
