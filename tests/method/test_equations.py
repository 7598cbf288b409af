"""Each equation against its nested-loop reference and one hand-computed value or property."""

import math

import pytest
import references
import torch

from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.consistency import decoder_difference, mix_consistency
from pclmix.method.contrast import cell_labels, class_keys, pixel_contrast, select_anchors
from pclmix.method.memory import Memory
from pclmix.method.mix import MixDraw, draw_mix, mix_batch, mixed_pseudo_label
from pclmix.method.schedule import contrast_weight, heterogeneous_weight, ramp
from pclmix.method.supervision import absence_loss, partial_cross_entropy, rule_out, supervised_loss
from pclmix.method.uncertainty import certain_labels, entropy, entropy_threshold, mean_probability

B, K, H, W = 3, 4, 6, 5


@pytest.fixture
def draws():
    generator = torch.Generator().manual_seed(0)
    main = torch.randn(B, K, H, W, generator=generator) * 3
    auxiliary = torch.randn(B, K, H, W, generator=generator) * 3
    scribble = torch.randint(0, K, (B, H, W), generator=generator)
    scribble[torch.rand(B, H, W, generator=generator) < 0.6] = IGNORE
    valid = torch.rand(B, H, W, generator=generator) < 0.9
    return main, auxiliary, scribble, valid


def grid(values):
    return torch.tensor([[[values[b, y, x] for x in range(W)] for y in range(H)] for b in range(B)])


def test_m1_entropy(draws):
    main, auxiliary, _, _ = draws
    expected = grid({place: u for place, (u, _) in references.m1(main.numpy(), auxiliary.numpy()).items()})
    assert torch.allclose(entropy(mean_probability(main, auxiliary)), expected.float(), atol=1e-5)
    assert float(entropy(torch.full((1, 4, 1, 1), 0.25))) == pytest.approx(math.log(4))


@pytest.mark.parametrize("r", [0.0, 0.4, 1.0])
def test_m2_certain_labels(draws, r):
    main, auxiliary, scribble, valid = draws
    expected = grid(references.m2(main.numpy(), auxiliary.numpy(), scribble.numpy(), valid.numpy(), r))
    found = certain_labels(mean_probability(main, auxiliary), scribble, valid, r)
    assert torch.equal(found, expected)
    assert (expected == IGNORE).any() and (expected != IGNORE).any()


def test_m2_threshold_is_the_published_one_for_four_classes():
    assert entropy_threshold(1.0, 4) == pytest.approx(1.0 * math.log(2))
    assert entropy_threshold(0.3, 4) == pytest.approx((0.75 + 0.25 * ramp(0.3)) * math.log(2))


def memory_with(counts, dimension=8, size=5):
    memory = Memory(len(counts), size, dimension)
    generator = torch.Generator().manual_seed(1)
    keys = torch.nn.functional.normalize(torch.randn(max(counts), len(counts), dimension, generator=generator), dim=2)
    present = torch.arange(max(counts))[:, None] < torch.tensor(counts)
    memory.enqueue(keys, present)
    return memory


@pytest.mark.parametrize("counts", [[0, 3, 5, 2], [0, 3, 0, 0], [0, 0, 0, 1]])
def test_m3_pixel_contrast(counts):
    memory = memory_with(counts)
    anchors = torch.nn.functional.normalize(torch.randn(7, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    labels = torch.tensor([1, 2, 3, 1, 2, 3, 1])
    expected = references.m3(anchors.tolist(), labels.tolist(), memory.keys.tolist(), memory.counts.tolist(), 0.07)
    found = pixel_contrast(anchors, labels, torch.ones(7, dtype=torch.bool), memory, 0.07)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_m3_by_hand_and_uncounted_anchors():
    memory = Memory(3, 2, 2)
    memory.enqueue(torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[False, True, True]]))
    anchors, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1])
    counted = torch.tensor([True, False])
    assert float(pixel_contrast(anchors, labels, counted, memory, 1.0)) == pytest.approx(math.log(1 + math.exp(-1)))
    nothing = pixel_contrast(anchors.requires_grad_(), labels, torch.zeros(2, dtype=torch.bool), memory, 1.0)
    nothing.backward()
    assert float(nothing.detach()) == 0 and torch.isfinite(anchors.grad).all()


@pytest.mark.parametrize("main_inside", [True, False])
def test_m4_mix(draws, main_inside):
    main, auxiliary, scribble, valid = draws
    image = torch.randn(B, 1, H, W, generator=torch.Generator().manual_seed(3))
    pi_c, pi_t = torch.tensor([2, 0, 1]), torch.tensor([0, 2, 1])
    inside = torch.rand(B, H, W, generator=torch.Generator().manual_seed(4)) < 0.5
    draw = MixDraw(pi_c, pi_t, inside, main_inside)
    mixed, pseudo = references.m4(
        image.numpy(), main.numpy(), auxiliary.numpy(), pi_c.tolist(), pi_t.tolist(), inside.numpy(), main_inside
    )
    possible = torch.rand(B, K, H, W, generator=torch.Generator().manual_seed(5)) < 0.5
    batch = mix_batch(draw, Batch(image, scribble, valid, possible))
    assert torch.allclose(batch.image[:, 0], grid(mixed).float())
    assert torch.equal(mixed_pseudo_label(draw, main, auxiliary), grid(pseudo))
    first, second = (pi_c, pi_t) if main_inside else (pi_t, pi_c)
    assert torch.equal(batch.scribble, torch.where(inside, scribble[first], scribble[second]))
    assert torch.equal(batch.valid, torch.where(inside, valid[first], valid[second]))
    assert torch.equal(batch.possible, torch.where(inside[:, None], possible[first], possible[second]))


def test_m4_full_box_and_identity_permutation_changes_nothing(draws):
    main, auxiliary, scribble, valid = draws
    same = torch.arange(B)
    draw = MixDraw(same, same, torch.ones(B, H, W, dtype=torch.bool), True)
    batch = Batch(main[:, :1], scribble, valid, torch.ones(B, K, H, W, dtype=torch.bool))
    mixed = mix_batch(draw, batch)
    assert torch.equal(mixed.image, batch.image) and torch.equal(mixed.scribble, scribble)
    assert torch.equal(mixed_pseudo_label(draw, main, auxiliary), main.argmax(1))


def test_m4_boxes_have_the_published_area_and_differ():
    draw = draw_mix(64, (100, 80), 0.2, torch.Generator().manual_seed(0))
    areas = draw.inside.float().mean(dim=(1, 2))
    assert areas.min() > 0.18 and areas.max() < 0.22
    assert len({tuple(box.flatten().tolist()) for box in draw.inside}) > 50
    assert sorted(draw.main.tolist()) == list(range(64)) and draw.main.tolist() != draw.auxiliary.tolist()
    coins = {draw_mix(2, (8, 8), 0.2, torch.Generator().manual_seed(s)).main_inside for s in range(20)}
    assert coins == {True, False}


def test_m5_partial_cross_entropy(draws):
    main, _, scribble, valid = draws
    expected = references.m5(main.numpy(), scribble.numpy(), valid.numpy())
    assert float(partial_cross_entropy(main, scribble, valid)) == pytest.approx(expected, rel=1e-5)
    logits = torch.zeros(1, 4, 1, 2, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.tensor([[[1, IGNORE]]]))
    assert float(loss.detach()) == pytest.approx(math.log(4))


def test_m5_without_annotation_is_zero_with_a_finite_gradient(draws):
    logits = draws[0].clone().requires_grad_()
    loss = partial_cross_entropy(logits, torch.full((B, H, W), IGNORE), draws[3])
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_m6_supervised_loss(draws):
    main, auxiliary, scribble, valid = draws
    expected = references.m6_half(main.numpy(), auxiliary.numpy(), scribble.numpy(), valid.numpy(), 0.4)
    assert float(supervised_loss(main, auxiliary, scribble, valid, 0.4)) == pytest.approx(expected, rel=1e-5)


def test_m7_mix_consistency(draws):
    main, auxiliary, _, valid = draws
    pseudo = main.flip(0).argmax(1)
    expected = references.m7(main.numpy(), auxiliary.numpy(), pseudo.numpy(), valid.numpy(), 0.4)
    assert float(mix_consistency(main, auxiliary, pseudo, valid, 0.4)) == pytest.approx(expected, rel=1e-5)


def test_m8_decoder_difference(draws):
    main, auxiliary, _, valid = draws
    expected = references.m8_part(main.numpy(), auxiliary.numpy(), valid.numpy())
    assert float(decoder_difference(main, auxiliary, valid)) == pytest.approx(expected, rel=1e-5)
    assert float(decoder_difference(main, main, valid)) == 0
    assert heterogeneous_weight(1.0) == pytest.approx(math.exp(-5 * 0.04))


def test_schedules():
    assert ramp(1) == 1 and ramp(0) == pytest.approx(math.exp(-5)) and ramp(2) == 1
    assert contrast_weight(0.01, 1 / 60) == 0 and contrast_weight(0.5, 1 / 60) == pytest.approx(0.5**0.9)


def test_cells_prefer_a_stroke_to_the_majority():
    certain = torch.full((1, 8, 16), 2)
    certain[0, :, 8:] = IGNORE
    certain[0, 0, 8:12] = 1
    scribble = torch.full((1, 8, 16), IGNORE)
    scribble[0, 3, 3] = 1
    assert cell_labels(certain, scribble, 4, 8).tolist() == [[[1, IGNORE]]]


def test_cells_cover_odd_sizes():
    labels = torch.ones(2, 9, 17, dtype=torch.long)
    assert cell_labels(labels, labels, 3, 8).shape == (2, 2, 3)


def test_anchors_are_half_hard_and_filled_up():
    cells = torch.full((2, 10, 10), 1)
    cells[1] = 2
    prediction = cells.clone()
    prediction[0].view(-1)[:30] = 3
    prediction[1].view(-1)[:5] = 3
    classes = torch.tensor([1, 2, 3])
    index, counted = select_anchors(cells, prediction, classes, 20, 1000, torch.Generator().manual_seed(0))
    chosen = index[counted]
    assert len(chosen) == 40 and len(set(chosen.tolist())) == 40
    hard = (prediction != cells).flatten()[chosen]
    assert int(hard[chosen < 100].sum()) == 10 and int(hard[chosen >= 100].sum()) == 5
    few, counted = select_anchors(cells, prediction, classes, 20, 7, torch.Generator().manual_seed(0))
    assert len(few) == 7 and counted.all()


def test_anchors_skip_ignored_and_background():
    cells = torch.tensor([[[0, 0, IGNORE, 1]]])
    index, counted = select_anchors(cells, cells, torch.tensor([1, 2]), 10, 10, torch.Generator().manual_seed(0))
    assert index[counted].tolist() == [3]


def test_class_keys_are_unit_means():
    embedding = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    cells = torch.tensor([0, 1, 1, IGNORE, 2, 2, 2, 0, 0]).view(1, 3, 3).repeat(2, 1, 1)
    cells[1] = 1
    keys, present = class_keys(embedding, cells, 3)
    mean = embedding[0].flatten(1)[:, [1, 2]].mean(1)
    assert torch.allclose(keys[0, 1], mean / mean.norm(), atol=1e-6)
    assert present.tolist() == [[True, True, True], [False, True, False]]


def test_absence_loss_is_the_probability_given_to_absent_classes(draws):
    main, _, _, valid = draws
    possible = torch.rand(B, K, H, W, generator=torch.Generator().manual_seed(5)) < 0.5
    possible[:, 0] = True
    p = main.softmax(dim=1)
    total = count = 0.0
    for b in range(B):
        for y in range(H):
            for x in range(W):
                if valid[b, y, x]:
                    total -= math.log(sum(float(p[b, k, y, x]) for k in range(K) if possible[b, k, y, x]))
                    count += 1
    assert float(absence_loss(main, possible, valid)) == pytest.approx(total / count, rel=1e-5)
    assert float(absence_loss(main, torch.ones(B, K, H, W, dtype=torch.bool), valid)) == 0
    main.requires_grad_()
    absence_loss(main, possible, torch.zeros_like(valid)).backward()
    assert torch.isfinite(main.grad).all()


def test_a_class_that_is_ruled_out_has_no_probability(draws):
    main, _, _, _ = draws
    possible = torch.ones(B, K, H, W, dtype=torch.bool)
    possible[:, 1] = False
    p = rule_out(main, possible).softmax(dim=1)
    assert float(p[:, 1].max()) == 0
    expected = main[:, [0, 2, 3]].softmax(dim=1)
    assert torch.allclose(p[:, [0, 2, 3]], expected, atol=1e-6)
