"""The loss of nnU-Net, in whole or over the labelled pixels alone: soft Dice, alone and with cross entropy."""

from torch import Tensor
from torch.nn import functional

from pclmix.compare.base import Losses
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy

SMOOTH = 1e-5


def soft_dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - mean over the foreground classes of (2 Σ p y + ε) / (Σ p + Σ y + ε), sums over the whole batch.

    Only pixels that are valid and labelled take part; without any the loss is 0. nnU-Net's loss of its 2-D
    configuration (batch Dice, no background, ε = 1e-5), plus 1. A class that no labelled pixel shows counts as Dice 0
    as soon as it is predicted there, as in nnU-Net. `logits`: (B, K, H, W), before softmax; `target`: (B, H, W),
    0..K-1 or IGNORE; `valid`: (B, H, W) bool.
    """
    labelled = valid & (target != IGNORE)
    member = functional.one_hot(target.where(labelled, 0), logits.shape[1]).movedim(-1, 1)[:, 1:] * labelled[:, None]
    probability = logits.softmax(dim=1)[:, 1:] * labelled[:, None]
    over = (0, 2, 3)
    common = (probability * member).sum(dim=over)
    size = probability.sum(dim=over) + member.sum(dim=over)
    return 1 - ((2 * common + SMOOTH) / (size + SMOOTH)).mean()


def cross_entropy_and_dice(logits: Tensor, target: Tensor, valid: Tensor) -> Losses:
    """M5 + the soft Dice loss, weights 1, on the pixels that are valid and labelled: "supervised" and "dice"."""
    supervised, dice = partial_cross_entropy(logits, target, valid), soft_dice_loss(logits, target, valid)
    return Losses(supervised + dice, {"supervised": supervised.detach(), "dice": dice.detach()})
