import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import argmax, m5, pixels, softmax

from pclmix.compare.dmpls import dice_loss, mixed_label


def slow_dice(logits, label, valid):
    terms = []
    for k in range(logits.shape[1]):
        both = each = 0.0
        for b, y, x in pixels(logits):
            if valid[b, y, x]:
                p, t = softmax(logits[b, :, y, x].tolist())[k], float(label[b, y, x] == k)
                both, each = both + p * t, each + p * p + t
        terms.append((2 * both + 1e-5) / (each + 1e-5))
    return 1 - sum(terms) / len(terms)


class TestDMPLS(MethodContract):
    name = "dmpls"

    def test_the_total_is_the_equation(self):
        plan = make_plan(crop=(16, 16))
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.5, torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        alpha = float(torch.rand(1, generator=generator))
        first, second = (logits.detach() for logits in net(batch.image))
        scribble, valid = batch.scribble.numpy(), batch.valid.numpy()
        label = torch.zeros_like(batch.scribble)
        for b, y, x in pixels(first):
            p, q = softmax(first[b, :, y, x].tolist()), softmax(second[b, :, y, x].tolist())
            label[b, y, x] = argmax([alpha * i + (1 - alpha) * j for i, j in zip(p, q, strict=True)])
        supervised = (m5(first.numpy(), scribble, valid) + m5(second.numpy(), scribble, valid)) / 2
        pseudo = (slow_dice(first, label, valid) + slow_dice(second, label, valid)) / 2
        assert losses.terms["pseudo"].item() == pytest.approx(pseudo, rel=1e-4)
        assert losses.total.item() == pytest.approx(supervised + 0.5 * pseudo, rel=1e-4)

    def test_only_the_second_decoder_is_behind_dropout_and_only_in_training(self):
        plan = make_plan()
        _, net = self.make(plan)
        image = make_source(plan).batch(0).image
        (a, b), (c, d) = net(image), net(image)
        assert torch.equal(a, c) and not torch.equal(b, d)
        net.eval()
        (a, b), (c, d) = net(image), net(image)
        assert torch.equal(a, c) and torch.equal(b, d) and not torch.equal(a, b)
        assert torch.equal(self.method.segmenter(net)(image), a)

    def test_half_of_every_feature_is_dropped(self):
        _, net = self.make(make_plan())
        torch.manual_seed(0)
        seen = []
        hook = net.second.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
        net(make_source(make_plan()).batch(0).image)
        hook.remove()
        assert len(seen) == len(net.segmenter.encoder.channels)
        assert all(0.4 < (feature == 0).float().mean() < 0.6 for feature in seen)

    def test_the_decoders_start_from_different_weights(self):
        _, net = self.make(make_plan())
        assert not torch.equal(net.segmenter.decoder.head.weight, net.second.head.weight)


def test_the_mixed_label_at_its_ends_is_one_decoders():
    first, second = torch.randn(2, 2, 4, 5, 5, generator=torch.Generator().manual_seed(0)).softmax(2)
    assert torch.equal(mixed_label(first, second, 1.0), first.argmax(1))
    assert torch.equal(mixed_label(first, second, 0.0), second.argmax(1))


def test_dice_by_hand_and_by_properties():
    probability = torch.tensor([[[[0.5, 1.0]], [[0.5, 0.0]]]])
    label, everywhere = torch.tensor([[[1, 0]]]), torch.ones(1, 1, 2, dtype=torch.bool)
    # class 0: 2·1 / (1.25 + 1); class 1: 2·.5 / (.25 + 1)
    expected = 1 - (2 / 2.25 + 1 / 1.25) / 2
    assert dice_loss(probability, label, everywhere).item() == pytest.approx(expected, abs=1e-5)
    assert dice_loss(probability, label, ~everywhere).item() == 0
    exact = torch.nn.functional.one_hot(label, 2).permute(0, 3, 1, 2).float()
    assert dice_loss(exact, label, everywhere).item() == pytest.approx(0, abs=1e-6)
    only_second = torch.tensor([[[False, True]]])
    other = probability.clone()
    other[..., 0] = 0.123
    assert dice_loss(probability, label, only_second) == dice_loss(other, label, only_second)
