import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import m5, pixels

from pclmix.compare import superpixel
from pclmix.compare.class_memory import class_contrast, remember
from pclmix.compare.contrasted_twin import lattice
from pclmix.compare.dmpls import dice_loss, mixed_label
from pclmix.compare.sc_net import noise_robust_dice
from pclmix.compare.superpixel import superpixels, walk, walked_slices
from pclmix.config import validated
from pclmix.errors import InputError
from pclmix.labels import IGNORE


def slow_contrast(features, scores, labels, memory, memory_scores):
    total = 0.0
    for f in range(len(memory)):
        own = [i for i in range(len(features)) if labels[i] == f + 1]
        held = [j for j in range(memory.shape[1]) if memory[f, j].any()]
        if not own or not held:
            continue
        a = [1 / (1 + math.exp(-scores[i, f])) for i in own]
        b = [1 / (1 + math.exp(-memory_scores[f, j])) for j in held]
        a, b = ([w * len(ws) / sum(ws) for w in ws] for ws in (a, b))  # of mean 1, as published
        pairs = []
        for i, weight in zip(own, a, strict=True):
            for j, other in zip(held, b, strict=True):
                dot = sum(float(u) * float(v) for u, v in zip(features[i], memory[f, j], strict=True))
                pairs.append(weight * other * (1 - dot / math.hypot(*features[i].tolist())))
        total += sum(pairs) / len(pairs)
    return total / (len(memory) + 1)


def slow_robust(probability, label, weight, power):
    terms = []
    for k in range(probability.shape[1]):
        wrong = size = 0.0
        for b, y, x in pixels(probability):
            if label[b, y, x] != IGNORE:
                p, t, w = float(probability[b, k, y, x]), float(label[b, y, x] == k), float(weight[b, y, x])
                wrong, size = wrong + w * abs(p - t) ** power, size + w * (p + t)
        terms.append(wrong / (size + 1e-5))
    return sum(terms) / len(terms)


class TestSCNet(MethodContract):
    name = "sc_net"

    def test_the_total_is_the_equation(self):
        plan = make_plan(crop=(16, 16))
        made, net = self.make(plan)
        made.memory = torch.nn.functional.normalize(torch.randn(2, 32, plan.network.embedding), dim=2)
        made.memory[:, 20:] = 0
        before = made.memory.clone()
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.25, torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        row, column = torch.randint(0, 4, (2,), generator=generator).tolist()
        alpha = float(torch.rand(1, generator=generator))
        with torch.no_grad():
            first, second, seen = net(batch.image, (row, column), before)
        p, q = first.softmax(1), second.softmax(1)
        scribble, valid = batch.scribble.numpy(), batch.valid.numpy()
        label = mixed_label(p, q, alpha)
        supervised = (m5(first.numpy(), scribble, valid) + m5(second.numpy(), scribble, valid)) / 2
        pseudo = float(dice_loss(p, label, batch.valid) + dice_loss(q, label, batch.valid)) / 2
        panels = made.picture(batch, 0.5, torch.Generator())
        walked, confidence = panels["walked label"], panels["confidence"]
        robust = sum(slow_robust(each, walked, confidence, 1.5) for each in (p, q)) / 2
        aims = [
            int(label[b, y, x]) if valid[b, y, x] else IGNORE
            for b in range(4)
            for y in range(row, 16, 4)
            for x in range(column, 16, 4)
        ]
        contrast = sum(
            slow_contrast(seen.predicted[i], seen.predicted_scores[i], aims, before, seen.memory_scores)
            for i in range(2)
        )
        wanted = {"supervised": supervised, "pseudo": pseudo, "walked": robust, "contrast": contrast}
        assert {name: value.item() for name, value in losses.terms.items()} == pytest.approx(wanted, rel=1e-4)
        total = supervised + 0.5 * pseudo + 0.005 * robust + 0.01 * math.exp(-5 / 4) * contrast
        assert losses.total.item() == pytest.approx(total, rel=1e-4)

    def test_what_is_remembered_is_rightly_predicted_foreground(self):
        plan = make_plan()
        made, _ = self.make(plan)
        batch = make_source(plan).plain_batch(0)
        assert not made.memory.any()
        made.losses(batch, 0.5, torch.Generator().manual_seed(0))
        held = made.memory[made.memory.any(dim=2)]
        torch.testing.assert_close(held.norm(dim=1), torch.ones(len(held)))
        nothing = replace(batch, valid=torch.zeros_like(batch.valid))
        before = made.memory.clone()
        made.losses(nothing, 0.5, torch.Generator().manual_seed(0))
        assert torch.equal(made.memory, before)

    def test_pixels_of_the_lattice_are_those_of_the_features(self):
        plan = make_plan(crop=(18, 22))
        _, net = self.make(plan)
        net.eval()
        seen = []
        net.second.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        _, _, found = net(torch.randn(2, 1, 18, 22), (1, 3), torch.zeros(2, 32, plan.network.embedding))
        feature = seen[0][1, :, 1 + 4 * 2, 3 + 4 * 3]  # image 1, third row and fourth column of 5 x 5
        pixel = net.projection(feature[None])
        torch.testing.assert_close(found.projected[1, 25 + 2 * 5 + 3], pixel[0])
        torch.testing.assert_close(found.predicted[1, 25 + 2 * 5 + 3], net.prediction(pixel)[0])

    def test_no_gradient_of_the_weights_reaches_the_features(self):
        plan = make_plan()
        _, net = self.make(plan)
        _, _, seen = net(make_source(plan).batch(0).image, (0, 0), torch.zeros(2, 32, plan.network.embedding))
        seen.predicted_scores.sum().backward()
        reached = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        assert reached == {"selectors"}

    def test_unknown_settings_are_refused(self):
        with pytest.raises(InputError, match="decai"):
            validated(self.method.OwnSettings, {"decai": 1}, "settings")


def test_the_contrast_is_the_loop():
    generator = torch.Generator().manual_seed(0)
    features, scores = torch.randn(9, 4, generator=generator), torch.randn(9, 3, generator=generator)
    labels = torch.tensor([1, 1, 2, 0, IGNORE, 2, 1, 0, 2])  # none of class 3
    memory = torch.nn.functional.normalize(torch.randn(3, 5, 4, generator=generator), dim=2)
    memory[0, 3:] = 0
    memory_scores = torch.randn(3, 5, generator=generator)
    found = class_contrast(features, scores, labels, memory, memory_scores)
    assert found.item() == pytest.approx(slow_contrast(features, scores, labels, memory, memory_scores), rel=1e-5)
    order = torch.randperm(9, generator=generator)
    again = class_contrast(features[order], scores[order], labels[order], memory, memory_scores)
    torch.testing.assert_close(found, again)


def test_the_contrast_by_hand():
    features, memory = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    scores, held = torch.tensor([[0.0], [math.log(3)]]), torch.zeros(1, 2)  # sigmoids ½ and ¾: shares .4 and .6
    found = class_contrast(features, scores, torch.tensor([1, 1]), memory, held)
    assert found.item() == pytest.approx(0.6 / 2)
    assert class_contrast(features, scores, torch.tensor([1, 1]), torch.zeros(1, 2, 2), held) == 0


def test_the_best_features_come_first_and_the_oldest_go():
    memory = torch.zeros(2, 3, 2)
    memory[0] = torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.0, 0.0]])
    features = torch.tensor([[5.0, 0.0], [0.0, -2.0], [3.0, 4.0], [-1.0, 0.0]])
    scores = torch.tensor([[0.1, 9.0], [0.9, 0.0], [0.5, 0.0], [8.0, 8.0]])
    before = memory.clone()
    found = remember(memory, features, scores, torch.tensor([1, 1, 2, IGNORE]))
    assert torch.equal(memory, before)
    torch.testing.assert_close(found[0], torch.tensor([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]]))


def test_more_features_than_the_memory_holds_keeps_the_best():
    features = torch.eye(5)
    scores = torch.tensor([0.3, 0.5, 0.1, 0.9, 0.2])[:, None]
    found = remember(torch.zeros(1, 2, 5), features, scores, torch.ones(5, dtype=torch.long))
    assert torch.equal(found[0], torch.eye(5)[[3, 1]])


def test_the_robust_dice_is_the_loop():
    generator = torch.Generator().manual_seed(0)
    probability = torch.randn(2, 3, 5, 4, generator=generator).softmax(1)
    label = torch.randint(0, 3, (2, 5, 4), generator=generator)
    label[:, 2:4] = IGNORE
    weight = torch.rand(2, 5, 4, generator=generator)
    found = noise_robust_dice(probability, label, weight, 1.5)
    assert found.item() == pytest.approx(slow_robust(probability, label, weight, 1.5), rel=1e-5)
    assert noise_robust_dice(probability, torch.full_like(label, IGNORE), weight, 1.5) == 0


def test_the_robust_dice_by_hand():
    probability = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
    found = noise_robust_dice(probability, torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1), 1.5)
    assert found.item() == pytest.approx((0.125 / 1.75 + 0.125 / 0.25) / 2, rel=1e-4)


def test_a_wrong_label_pulls_less_than_under_dice_of_power_two():
    """At a pixel that is surely wrong, |p - y|^γ is as large for every γ, its slope grows with γ."""
    slopes = []
    for power in (1.0, 1.5, 2.0):
        logits = torch.tensor([-2.0, 2.0]).view(1, 2, 1, 1).requires_grad_()
        label = torch.zeros(1, 1, 1, dtype=torch.long)
        noise_robust_dice(logits.softmax(1), label, torch.ones(1, 1, 1), power).backward()
        slopes.append(float(logits.grad.abs().max()))
    assert slopes[0] < slopes[1] < slopes[2]


def test_a_stroke_walks_its_superpixel_and_no_further():
    strokes = np.full((4, 6), IGNORE, np.uint8)
    strokes[1, 0], strokes[0, 2], strokes[3, 3] = 1, 2, 0
    grid = np.repeat([0, 1, 2], 2)[None].repeat(4, 0)
    label, confidence = walk(strokes, grid, (2.0, 1.0), 4.0)
    assert (label[:, :2] == 1).all()
    assert label[:, 2:4].tolist() == [[2, IGNORE], [IGNORE] * 2, [IGNORE] * 2, [IGNORE, 0]]  # two classes: as drawn
    assert (label[:, 4:] == IGNORE).all() and (confidence[label == IGNORE] == 0).all()
    assert confidence[1, 0] == confidence[0, 2] == confidence[3, 3] == 1
    assert confidence[3, 1] == pytest.approx(math.exp(-math.hypot(4, 1) / 4), rel=1e-3)
    flat = walk(strokes, grid, (2.0, 1.0), 0.0)[1]
    assert np.array_equal(flat, label != IGNORE)


def test_superpixels_follow_the_image():
    image = np.zeros((1, 40, 40), np.float16)
    image[0, :, 17:] = 3
    image += np.random.default_rng(0).normal(0, 0.02, image.shape).astype(np.float16)
    found = superpixels(image, 16, 0.15)
    assert 8 <= len(np.unique(found)) <= 32 and found.min() == 0
    assert not set(found[:, :17].ravel()) & set(found[:, 17:].ravel())


def test_a_slice_of_one_intensity_has_superpixels():
    assert superpixels(np.ones((2, 30, 20), np.float16), 10, 0.15).shape == (30, 20)


def test_walked_slices_are_made_once(monkeypatch):
    source = make_source(make_plan(), seed=77)
    first = walked_slices(source, 20, 0.15, 10.0)
    monkeypatch.setattr(superpixel, "superpixels", None)  # would fail if it were called
    again = walked_slices(source, 20, 0.15, 10.0)
    assert len(first) == len(again) == len(source.slices)
    for place, (old, new) in enumerate(zip(first, again, strict=True)):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
        drawn = source.strokes(place) != IGNORE
        assert np.array_equal(new[0][drawn], source.strokes(place)[drawn])
    with pytest.raises(TypeError):
        walked_slices(source, 21, 0.15, 10.0)


def test_a_damaged_file_is_named():
    source = make_source(make_plan(), seed=78)
    walked_slices(source, 20, 0.15, 10.0)
    [path] = superpixel.cache_folder().glob("a-78-*_walked_*.npz")
    path.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="delete it"):
        walked_slices(source, 20, 0.15, 10.0)


def test_the_lattice_of_labels_and_features_is_one():
    values = torch.arange(80).view(1, 8, 10)
    assert lattice(values, (1, 2)).tolist() == [[[12, 16], [52, 56]]]
