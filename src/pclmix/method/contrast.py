"""Pixel contrast against the memory: labels on the embedding's grid, anchors, M3, and the keys to queue."""

import torch
from torch import Tensor
from torch.nn import functional

from pclmix.labels import IGNORE
from pclmix.method.memory import Memory
from pclmix.network.blocks import pad_to_multiple


def cell_labels(certain: Tensor, scribble: Tensor, classes: int, stride: int) -> Tensor:
    """Labels (B, ceil(H/s), ceil(W/s)) of s x s cells: the most frequent annotated class, else the majority of ŷ.

    Nearest sampling would lose the stroke of a class in a third of the slices.
    """
    most, stroke = _cell_counts(scribble, classes, stride).max(dim=1)
    return torch.where(most > 0, stroke, cell_majority(certain, classes, stride))


def cell_majority(labels: Tensor, classes: int, stride: int) -> Tensor:
    """The most frequent label of each cell; IGNORE is a candidate, so a cell that is mostly uncertain is IGNORE."""
    counts = _cell_counts(labels, classes, stride)
    unknown = stride * stride - counts.sum(dim=1)
    most, label = counts.max(dim=1)
    return torch.where(most > unknown, label, IGNORE)


def _cell_counts(labels: Tensor, classes: int, stride: int) -> Tensor:
    """(B, K, h, w): pixels of each class in a cell of a stride below 256; what lies beyond the image has none."""
    values = torch.arange(classes, device=labels.device).view(1, -1, 1, 1)
    members = pad_to_multiple((labels[:, None] == values).view(torch.uint8), stride)
    batch, _, height, width = members.shape
    cells = members.view(batch, classes, height // stride, stride, width // stride, stride)
    return cells.sum(dim=3, dtype=torch.uint8).sum(dim=4)


def select_anchors(
    cells: Tensor, prediction: Tensor, classes: Tensor, per_class: int, total: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flat indices (A,) into (B·h·w) of the anchors, and which of them count (A,) bool.

    A class of an image gives at most `per_class`, half of them hard (`prediction` differs from the cell's label) and
    half easy, filled up from the other half when one is short; the batch gives at most `total`. `classes` (C,) are the
    labels that take part. Chosen at random by `generator` (CPU). A GPU would have to wait for the number of anchors, so
    there A is the most there can be; on a CPU all that are returned count.
    """
    batch, height, width = cells.shape
    pixels = height * width
    chance = torch.rand(batch, pixels, generator=generator).to(cells.device)
    member = cells.view(batch, 1, pixels) == classes.view(1, -1, 1)
    hard = member & (prediction != cells).view(batch, 1, pixels)
    easy = member & ~hard
    half = per_class // 2
    hard_rank, easy_rank = _rank(hard, chance), _rank(easy, chance)
    hard_count, easy_count = hard.sum(dim=2, keepdim=True), easy.sum(dim=2, keepdim=True)
    hard_quota = torch.maximum(per_class - easy_count, torch.full_like(easy_count, per_class - half))
    easy_quota = per_class - torch.minimum(hard_count, hard_quota)
    chosen = (hard & (hard_rank < hard_quota)) | (easy & (easy_rank < easy_quota))
    flat = chosen.any(dim=1).flatten()  # a pixel has one label, so it is chosen for one class at most
    score = torch.where(flat, chance.flatten(), -1.0)
    picked = score.topk(min(total, score.numel()))
    counted = picked.values >= 0
    if counted.is_cpu:
        return picked.indices[counted], counted[counted]
    return picked.indices, counted


def _rank(mask: Tensor, chance: Tensor) -> Tensor:
    """Random rank of each member among the members of its row: (B, C, N), (B, N) -> (B, C, N)."""
    score = torch.where(mask, chance[:, None], -1.0)
    order = score.argsort(dim=2, descending=True)
    places = torch.arange(mask.shape[2], device=mask.device).expand_as(order)
    return torch.empty_like(order).scatter_(2, order, places)


def pixel_contrast(anchors: Tensor, labels: Tensor, counted: Tensor, memory: Memory, temperature: float) -> Tensor:
    """M3 over anchors (A, D) with labels (A,); those not `counted`, or without a positive or negative key, are skipped.

    For anchor e of class c, positives P = keys of c and negatives N = keys of the other classes,
    -1/|P| Σ_{k∈P} log[ exp(e·k/τ) / (exp(e·k/τ) + Σ_{n∈N} exp(e·n/τ)) ], averaged over the anchors that count.
    """
    classes, size, _ = memory.keys.shape
    blank = torch.where(memory.valid(), 0.0, torch.finfo(anchors.dtype).min).to(anchors.dtype)
    keys = memory.keys.flatten(0, 1).T.to(anchors.dtype)
    similarity = torch.addmm(blank.flatten(), anchors, keys, alpha=1 / temperature).view(-1, classes, size)
    # log Σ exp over the keys of each class, then over the other classes: no mask as large as the similarities.
    by_class = similarity.logsumexp(dim=2)
    own = labels[:, None] == torch.arange(classes, device=labels.device)
    others = by_class.masked_fill(own, float("-inf")).logsumexp(dim=1, keepdim=True)
    of_own = labels.clamp_max(classes - 1)  # IGNORE has no keys, and does not count
    positive = similarity[torch.arange(len(labels), device=labels.device), of_own]
    terms = torch.where(memory.valid()[of_own], functional.softplus(others - positive), 0.0)
    positives = memory.counts[of_own]
    counted = counted & own.any(dim=1) & (positives > 0)  # without a negative key every term is 0
    loss = terms.sum(dim=1) / positives.clamp_min(1)
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)


def class_keys(embedding: Tensor, cells: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Unit mean embedding of each class in each image: (B, D, h, w), (B, h, w) -> keys (B, K, D), present (B, K)."""
    onehot = functional.one_hot(torch.where(cells != IGNORE, cells, classes), classes + 1)[..., :classes]
    onehot = onehot.flatten(1, 2).to(embedding.dtype)  # (B, h·w, K)
    sums = torch.einsum("bdn,bnk->bkd", embedding.detach().flatten(2), onehot)
    return functional.normalize(sums, dim=2), onehot.sum(dim=1) > 0
