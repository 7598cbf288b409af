import pytest
import torch
from references import pixels, softmax

from pclmix.compare.soft_dice import soft_dice_loss
from pclmix.labels import IGNORE


def slow_soft_dice_loss(logits, target, valid):
    scores = []
    for k in range(1, logits.shape[1]):
        common = size = 0.0
        for b, y, x in pixels(logits):
            if valid[b, y, x] and target[b, y, x] != IGNORE:
                p, member = softmax(logits[b, :, y, x])[k], target[b, y, x] == k
                common += p * member
                size += p + member
        scores.append((2 * common + 1e-5) / (size + 1e-5))
    return 1 - sum(scores) / len(scores)


@pytest.mark.parametrize("annotated, share", [(1.0, 1.0), (0.3, 0.8), (0.0, 1.0), (0.5, 0.0)])
def test_it_is_that_of_a_slow_loop(annotated, share):
    torch.manual_seed(2)
    logits = 2 * torch.randn(3, 4, 5, 3, dtype=torch.float64)
    target = torch.randint(0, 4, (3, 5, 3)).where(torch.rand(3, 5, 3) < annotated, IGNORE)
    valid = torch.rand(3, 5, 3) < share
    expected = slow_soft_dice_loss(logits.numpy(), target.numpy(), valid.numpy())
    assert float(soft_dice_loss(logits, target, valid)) == pytest.approx(expected, abs=1e-9)


def test_without_labels_it_is_0_with_a_zero_gradient():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = soft_dice_loss(logits, torch.full((2, 4, 4), IGNORE), torch.ones(2, 4, 4, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_a_class_that_no_label_shows_is_finite():
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = soft_dice_loss(logits, torch.ones(1, 2, 2, dtype=torch.long), torch.ones(1, 2, 2, dtype=torch.bool))
    loss.backward()
    # Class 1: 2 · 4/3 / (4/3 + 4) = 1/2; class 2: 0.
    assert loss.item() == pytest.approx(0.75, abs=1e-5)
    assert torch.isfinite(logits.grad).all()


def test_a_perfect_prediction_costs_nothing():
    target = torch.tensor([[[0, 1], [2, 1]]])
    logits = 50 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert float(soft_dice_loss(logits, target, torch.ones(1, 2, 2, dtype=torch.bool))) == pytest.approx(0, abs=1e-5)
