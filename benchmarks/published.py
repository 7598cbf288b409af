"""The step of preset paper against the same step done the published way, on a CPU.

Ours: `Session.advance` on a batch held in memory, all of it (`step.py`), in bf16 and in fp32.
Baseline, written from design/method.md, "What the published experiment does that we must not": in fp32, without
channels-last, three forward passes of the whole network (both decoders and the embedding; the second look is run once
a decoder), Python loops over images and classes for the anchors and over images and classes for the queue, M3 under
masks as large as the similarities; backward pass and SGD, no averaged weights. The loss terms that are not in that list
are computed by our own functions, so the published step is given their speed. Both see the same weights, batch, labels
and mix, and the batch's strokes are dense labels, so that as many anchors count as in a network that has learnt.

Before it measures, it compares the two at a small size in fp32: where every labelled cell is an anchor (they draw by
different random numbers otherwise) the same loss must come out, to 1e-4 of it, and the same keys join the memory.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.step import PROGRESS, TINY, advance, dense_batch, phantom_session
from benchmarks.timing import Row, seconds
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.consistency import decoder_difference, mix_consistency
from pclmix.method.contrast import cell_labels
from pclmix.method.memory import Memory
from pclmix.method.mix import draw_mix, mix_batch, mixed_pseudo_label
from pclmix.method.pclmix import PCLMix
from pclmix.method.schedule import contrast_weight, heterogeneous_weight
from pclmix.method.supervision import supervised_loss
from pclmix.method.uncertainty import certain_labels, mean_probability
from pclmix.network.projection import STRIDE
from pclmix.session import Session

ALL = ("method.anchors=100000", "method.anchors_per_class=50000")
"""Overrides under which every labelled cell is an anchor."""


def bench(runs: int, quick: bool) -> list[Row]:
    """A row for bf16 and one for fp32."""
    sizes = TINY if quick else ()
    require_same_loss()
    sessions = {
        kind: phantom_session("paper", (*sizes, f"train.precision={kind}")) for kind in ("bf16-mixed", "32-true")
    }
    batch = dense_batch(sessions["32-true"])
    published = Published(sessions["32-true"])
    work: dict[str, Callable[[], object]] = {kind: partial(advance, one, batch) for kind, one in sessions.items()}
    work["published"] = partial(published.step, batch, PROGRESS, torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in range(-1, runs):  # the first one warms up
        for name in sorted(work, reverse=run % 2 == 1):
            took = seconds(work[name])
            times[name] += [took] if run >= 0 else []
    plan = sessions["32-true"].source.plan
    size = f"{plan.network.encoder}, {plan.crop[0]} x {plan.crop[1]}, batch {plan.batch}"
    baseline = "three fp32 passes, loops for anchors and queue, not channels-last"
    return [
        Row(f"paper step in {name}", size, baseline, times[kind], times["published"], target, at_most=False)
        for name, kind, target in (("bf16", "bf16-mixed", 4.0), ("fp32", "32-true", 1.6))
    ]


class Published:
    """The published way, with a copy of a session's weights and memory."""

    def __init__(self, session: Session) -> None:
        assert isinstance(session.method, PCLMix)
        self.settings, self.contrasted = session.method.settings, session.method.contrasted
        self.net: nn.Module = copy.deepcopy(session.module).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.memory = Memory(*session.method.memory.keys.shape)
        self.memory.load_state_dict(session.method.memory.state_dict())
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, foreach=False)

    def step(self, batch: Batch, progress: float, generator: torch.Generator) -> None:
        """Losses, backward pass, optimiser."""
        loss = self.loss(batch, progress, generator)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        float(loss.detach())

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Tensor:
        """M9, the mix drawn by `generator`; the keys of the batch join the memory."""
        weight = self.settings
        look = self.net(batch.image)
        total = supervised_loss(look.main, look.auxiliary, batch.scribble, batch.valid, weight.auxiliary)
        certain = certain_labels(mean_probability(look.main, look.auxiliary), batch.scribble, batch.valid, progress)
        scribble = torch.where(batch.valid, batch.scribble, IGNORE)
        cells = cell_labels(certain, scribble, len(self.memory.counts), STRIDE)
        prediction = functional.interpolate(look.main.detach(), size=cells.shape[1:]).argmax(dim=1)
        index = self._anchors(cells, prediction)
        pixels = look.embedding.permute(0, 2, 3, 1).flatten(0, 2)
        contrast = masked_contrast(pixels[index], cells.flatten()[index], self.memory, weight.temperature)
        total = total + weight.contrastive * contrast_weight(progress, weight.contrast_warmup) * contrast
        self._enqueue(look.embedding.detach(), cells)
        draw = draw_mix(len(batch.image), batch.scribble.shape[1:], weight.box_area, generator)
        mixed = mix_batch(draw, batch)
        main, auxiliary = self.net(mixed.image).main, self.net(mixed.image).auxiliary
        total = total + supervised_loss(main, auxiliary, mixed.scribble, mixed.valid, weight.auxiliary)
        pseudo = mixed_pseudo_label(draw, look.main, look.auxiliary)
        mixing = mix_consistency(main, auxiliary, pseudo, mixed.valid, weight.auxiliary)
        different = decoder_difference(look.main, look.auxiliary, batch.valid)
        different = different + decoder_difference(main, auxiliary, mixed.valid)
        return total + weight.consistent * (mixing + heterogeneous_weight(progress) * different)

    def _anchors(self, cells: Tensor, prediction: Tensor) -> Tensor:
        """Places of the anchors in the flattened cells, image by image and class by class."""
        most, half = self.settings.anchors_per_class, self.settings.anchors_per_class // 2
        chosen: list[Tensor] = []
        for image in range(len(cells)):
            labels, wrong = cells[image].flatten(), (prediction[image] != cells[image]).flatten()
            for label in labels.unique().tolist():
                if label not in self.contrasted:
                    continue
                hard = ((labels == label) & wrong).nonzero()[:, 0]
                easy = ((labels == label) & ~wrong).nonzero()[:, 0]
                of_hard = min(len(hard), max(most - half, most - len(easy)))
                of_easy = min(len(easy), most - of_hard)
                hard = hard[torch.randperm(len(hard))[:of_hard]]
                easy = easy[torch.randperm(len(easy))[:of_easy]]
                chosen.append(torch.cat([hard, easy]) + image * len(labels))
        index = torch.cat(chosen)
        return index[torch.randperm(len(index))[: self.settings.anchors]]

    def _enqueue(self, embedding: Tensor, cells: Tensor) -> None:
        """The mean embedding of each class of each image, one after the other."""
        memory, size = self.memory, self.memory.keys.shape[1]
        for features, labels in zip(embedding.flatten(2), cells.flatten(1), strict=True):
            for label in labels.unique().tolist():
                if label not in self.contrasted:
                    continue
                place = int(memory.heads[label])
                key = features[:, (labels == label).nonzero()[:, 0]].mean(dim=1)
                memory.keys[label, place] = functional.normalize(key, dim=0)
                memory.heads[label] = (place + 1) % size
                memory.counts[label] = min(int(memory.counts[label]) + 1, size)


def masked_contrast(anchors: Tensor, labels: Tensor, memory: Memory, temperature: float) -> Tensor:
    """M3 with masks of positives and negatives over all anchors and keys."""
    classes, size, _ = memory.keys.shape
    valid = memory.valid().flatten()
    owner = torch.arange(classes).repeat_interleave(size)
    similarity = (
        anchors @ memory.keys.flatten(0, 1).clone().T / temperature
    )  # the queue changes before the backward pass
    positive, negative = valid & (owner == labels[:, None]), valid & (owner != labels[:, None])
    counted = positive.any(dim=1) & negative.any(dim=1)
    lowest = torch.finfo(similarity.dtype).min
    others = torch.logsumexp(torch.where(negative, similarity, lowest), dim=1, keepdim=True)
    terms = torch.logaddexp(similarity, others) - similarity
    loss = (terms * positive).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp_min(1)


def require_same_loss() -> None:
    """Raise `AssertionError` unless both ways compute the same loss and the same memory, at a small size in fp32."""
    session = phantom_session("paper", (*TINY, *ALL, "train.precision=32-true"), accelerator="cpu")
    batch, method = dense_batch(session), session.method
    assert isinstance(method, PCLMix) and not method.absence
    advance(session, batch)  # keys to contrast with
    published = Published(session)
    terms = method.losses(session.placed(batch), PROGRESS, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    size = [-(-side // STRIDE) for side in batch.image.shape[2:]]
    torch.rand(len(batch.image), size[0] * size[1], generator=generator)  # our draw of the anchors comes before the mix
    loss = published.loss(batch, PROGRESS, generator)
    assert float(terms.terms["contrast"]) > 0
    torch.testing.assert_close(loss.detach(), terms.total.detach(), rtol=1e-4, atol=0)
    torch.testing.assert_close(published.memory.keys, method.memory.keys, rtol=0, atol=1e-4)
    assert torch.equal(published.memory.counts, method.memory.counts) and int(method.memory.counts.max()) > 4
