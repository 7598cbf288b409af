"""What every method keeps. A method's own test class inherits `MethodContract` and adds the checks of its equations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pclmix.compare.registry import METHODS
from pclmix.config import AugmentSettings, Plan, TrainSettings, make_settings
from pclmix.data.batches import BatchSource
from pclmix.data.cache import CachedCase
from pclmix.labels import IGNORE
from pclmix.network.dual import SegmentationNet

NETWORK = make_settings("cpu", ("network.swin_width=16", "network.embedding=8")).network
CALM = AugmentSettings(flip=False, rotation=5, scale=0.05, gamma=0.1, contrast=0.1, brightness=0.1, noise=0.05, blur=0)


def make_plan(classes=3, channels=1, crop=(32, 32)):
    return Plan(
        channels=tuple(f"mr{index}" for index in range(channels)),
        classes={f"class{value}" if value else "background": value for value in range(classes)},
        spacing=(1.5, 1.5),
        crop=crop,
        batch=4,
        depth=4,
        intensity=("zscore",) * channels,
        network=NETWORK,
    )


def make_source(plan, seed=0):
    """Two cases of three slices, a little narrower than the crop, so that each batch has pixels that were not imaged.

    Bright bars on dark ground, a bar a class; strokes across all of them on two rows.
    """
    random = np.random.default_rng(seed)
    height, width = plan.crop[0], plan.crop[1] - 4
    classes = len(plan.classes)
    dense = np.zeros((3, height, width), np.uint8)
    bar = width // classes
    for value in range(1, classes):
        dense[:, 3 : height - 3, value * bar : value * bar + bar - 1] = value
    label = np.full_like(dense, IGNORE)
    label[:, 5:7] = dense[:, 5:7]
    cases = []
    for name in ("a", "b"):
        image = np.repeat(dense[:, None].astype(np.float32) / classes, len(plan.channels), axis=1)
        image = image + random.normal(0, 0.05, image.shape)
        cases.append(CachedCase(name, f"{name}-{seed}-{plan.crop}-{classes}", image.astype(np.float16), label, dense))
    return BatchSource(cases, plan, CALM, TrainSettings(), seed)


class MethodContract:
    """Set `name` to the method's registry name."""

    name = ""
    settings: dict = {}  # noqa: RUF012
    """Own settings of the method under which the contract is tried."""
    steps = 25
    """Steps within which the supervised loss must halve."""

    @property
    def method(self):
        return METHODS[self.name]

    def make(self, plan, seed=0, source=None):
        torch.manual_seed(seed)
        net = self.method.network(plan)
        made = self.method(net, plan, self.method.OwnSettings(**self.settings))
        made.prepare(source or make_source(plan))
        return made, net

    def train(self, made, net, batch, steps, start=0):
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=3e-3)
        history = []
        for step in range(start, start + steps):
            generator = torch.Generator().manual_seed(step)
            losses = made.losses(batch, step / 40, generator)
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            made.after_step()
            terms = losses.terms | {"total": losses.total.detach()}
            history.append({name: float(value) for name, value in terms.items()})
        return history

    def test_the_supervised_loss_falls(self):
        plan = make_plan()
        made, net = self.make(plan)
        history = self.train(made, net, make_source(plan).plain_batch(0), self.steps)
        assert history[-1]["supervised"] < 0.5 * history[0]["supervised"]
        assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in history)

    def test_the_gradient_reaches_every_trained_parameter(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).plain_batch(0)
        self.train(made, net, batch, 2)
        net.zero_grad()
        for step in range(3):
            made.losses(batch, 0.5, torch.Generator().manual_seed(step)).total.backward()
        without = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert without == []

    @pytest.mark.parametrize("what", ["nothing annotated", "nothing imaged", "one pixel annotated"])
    def test_a_batch_without_labels_gives_a_finite_loss_and_gradient(self, what):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).plain_batch(0)
        scribble, valid = torch.full_like(batch.scribble, IGNORE), batch.valid
        if what == "nothing imaged":
            scribble, valid = batch.scribble, torch.zeros_like(batch.valid)
        elif what == "one pixel annotated":
            scribble[0, 10, 10] = 1
        poor = replace(batch, scribble=scribble, valid=valid)
        losses = made.losses(poor, 0.5, torch.Generator().manual_seed(0))
        losses.total.backward()
        assert torch.isfinite(losses.total)
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)

    @pytest.mark.parametrize("classes, channels, size", [(2, 1, (40, 24)), (5, 3, (37, 41)), (4, 1, (16, 64))])
    def test_any_classes_channels_and_size(self, classes, channels, size):
        plan = make_plan(classes, channels, size)
        source = make_source(plan)
        made, net = self.make(plan, source=source)
        history = self.train(made, net, source.batch(0), 2)
        assert all(np.isfinite(value) for value in history[-1].values())

    def test_labels_where_nothing_was_imaged_are_not_read(self):
        plan = make_plan()
        batch = make_source(plan).plain_batch(0)
        assert not batch.valid.all()
        nonsense = batch.scribble.clone()
        nonsense[~batch.valid] = 1
        totals = []
        for scribble in (batch.scribble, nonsense):
            made, _ = self.make(plan)
            tried = replace(batch, scribble=scribble)
            totals.append(made.losses(tried, 0.5, torch.Generator().manual_seed(1)).total)
        torch.testing.assert_close(totals[0], totals[1])

    def test_the_same_seed_gives_the_same_steps(self):
        plan = make_plan()
        histories = []
        for _ in range(2):
            made, net = self.make(plan)
            histories.append(self.train(made, net, make_source(plan).batch(3), 3))
        assert histories[0] == histories[1]

    def test_a_restored_method_goes_on_where_it_stopped(self):
        plan = make_plan()
        batch = make_source(plan).batch(1)
        made, net = self.make(plan)
        self.train(made, net, batch, 3)
        state = {name: value.clone() for name, value in made.state_dict().items()}
        other, other_net = self.make(plan, seed=9)
        other_net.load_state_dict(net.state_dict())
        other.load_state_dict(state)
        first, second = (m.losses(batch, 0.5, torch.Generator().manual_seed(5)) for m in (made, other))
        assert torch.equal(first.total, second.total)
        made.after_step()
        other.after_step()
        for name, value in made.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name

    def test_inference_keeps_a_plain_segmentation_net(self):
        plan = make_plan()
        _, net = self.make(plan)
        kept = self.method.segmenter(net)
        assert isinstance(kept, SegmentationNet)
        assert kept.eval()(torch.zeros(1, 1, 20, 20)).shape == (1, 3, 20, 20)

    def test_looking_moves_nothing(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        own = {name: value.clone() for name, value in made.state_dict().items()}
        panels = made.picture(batch, 0.5, torch.Generator().manual_seed(0))
        assert net.training
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert all(torch.equal(value, own[name]) for name, value in made.state_dict().items())
        assert {"image", "scribble", "prediction"} <= panels.keys()
        assert all(panel.shape[-2:] == (32, 32) and len(panel) == plan.batch for panel in panels.values())

    def test_it_says_what_it_is(self):
        assert self.method.name == self.name
        assert self.method.summary and any(character.isdigit() for character in self.method.citation)
