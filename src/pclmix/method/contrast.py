"""Pixel contrast against the memory: labels on the embedding's grid, anchors, M3, and the keys to queue."""

import torch
from torch import Tensor
from torch.nn import functional

from pclmix.labels import IGNORE
from pclmix.method.memory import Memory
from pclmix.network.blocks import pad_to_multiple


def cell_labels(certain: Tensor, scribble: Tensor, classes: int, stride: int) -> Tensor:
    """Labels (B, ceil(H/s), ceil(W/s)) of s x s cells: the most frequent annotated class, else the majority of ŷ.

    IGNORE is a candidate of the majority, so a cell that is mostly uncertain is IGNORE. Nearest sampling would lose the
    stroke of a class in a third of the slices.
    """
    strokes = _cell_counts(scribble, classes, stride)
    labels = _cell_counts(certain, classes, stride)
    unknown = stride * stride - labels.sum(dim=1)
    best, majority = labels.max(dim=1)
    majority = torch.where(best > unknown, majority, IGNORE)
    return torch.where(strokes.sum(dim=1) > 0, strokes.argmax(dim=1), majority)


def _cell_counts(labels: Tensor, classes: int, stride: int) -> Tensor:
    known = labels != IGNORE
    onehot = functional.one_hot(torch.where(known, labels, classes), classes + 1)[..., :classes]
    counts = functional.avg_pool2d(pad_to_multiple(onehot.permute(0, 3, 1, 2).float(), stride), stride)
    return (counts * stride * stride).round()


def select_anchors(
    cells: Tensor, prediction: Tensor, classes: Tensor, per_class: int, total: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flat indices (A,) into (B·h·w) of the anchors, and which of them count (A,) bool.

    A class of an image gives at most `per_class`, half of them hard (`prediction` differs from the cell's label) and
    half easy, filled up from the other half when one is short; the batch gives at most `total`. `classes` (C,) are the
    labels that take part. Chosen at random by `generator` (CPU).
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
    return picked.indices, picked.values >= 0


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
    classes, size, dimension = memory.keys.shape
    valid = memory.valid().flatten()
    owner = torch.arange(classes, device=labels.device).repeat_interleave(size)
    similarity = anchors @ memory.keys.reshape(-1, dimension).T.to(anchors.dtype) / temperature
    positive = valid & (owner == labels[:, None])
    negative = valid & (owner != labels[:, None])
    counted = counted & positive.any(dim=1) & negative.any(dim=1)
    lowest = torch.finfo(similarity.dtype).min
    others = torch.logsumexp(torch.where(negative, similarity, lowest), dim=1, keepdim=True)
    terms = torch.logaddexp(similarity, others) - similarity
    loss = (terms * positive).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)


def class_keys(embedding: Tensor, cells: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Unit mean embedding of each class in each image: (B, D, h, w), (B, h, w) -> keys (B, K, D), present (B, K)."""
    onehot = functional.one_hot(torch.where(cells != IGNORE, cells, classes), classes + 1)[..., :classes]
    onehot = onehot.flatten(1, 2).to(embedding.dtype)  # (B, h·w, K)
    sums = torch.einsum("bdn,bnk->bkd", embedding.detach().flatten(2), onehot)
    return functional.normalize(sums, dim=2), onehot.sum(dim=1) > 0
