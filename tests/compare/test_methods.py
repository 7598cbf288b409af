"""What every method keeps, run over the registry: a new method is tested by being registered."""

import pytest
import torch

from pclmix.compare.registry import METHODS, get_method
from pclmix.config import Plan, make_settings
from pclmix.data.batches import Batch
from pclmix.errors import InputError
from pclmix.labels import IGNORE
from pclmix.network.dual import SegmentationNet

SETTINGS = make_settings("cpu", ("network.swin_width=16", "network.embedding=8", "method.contrast_warmup=0"))


def make_plan(classes=3, channels=1):
    return Plan(
        channels=tuple(f"mr{index}" for index in range(channels)),
        classes={f"class{value}" if value else "background": value for value in range(classes)},
        spacing=(1.5, 1.5),
        crop=(32, 32),
        batch=4,
        depth=4,
        intensity=("zscore",) * channels,
        network=SETTINGS.network,
    )


def make_batch(plan, size=(32, 32), seed=0):
    """Bright squares on dark ground, a short stroke on each class, a margin where nothing was imaged."""
    generator = torch.Generator().manual_seed(seed)
    classes = len(plan.classes)
    dense = torch.zeros(plan.batch, *size, dtype=torch.int64)
    step = size[1] // classes
    for value in range(1, classes):
        dense[:, 4 : size[0] - 4, value * step : value * step + step - 1] = value
    image = dense[:, None].float().repeat(1, len(plan.channels), 1, 1) / classes
    image += 0.05 * torch.randn(image.shape, generator=generator)
    scribble = torch.full_like(dense, IGNORE)
    for row in (6, 7):
        scribble[:, row] = dense[:, row]
    valid = torch.ones_like(dense, dtype=torch.bool)
    valid[:, :, :2] = False
    return Batch(image, scribble, valid, torch.ones(plan.batch, classes, *size, dtype=torch.bool))


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return METHODS[request.param]


def make(method, plan, seed=0):
    torch.manual_seed(seed)
    net = method.network(plan)
    return method(net, plan, SETTINGS.method), net


def train(made, net, batch, steps, start=0):
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
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


def test_the_supervised_loss_falls(method):
    plan = make_plan()
    made, net = make(method, plan)
    history = train(made, net, make_batch(plan), 25)
    assert history[-1]["supervised"] < 0.5 * history[0]["supervised"]
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in history)


@pytest.mark.parametrize("what", ["nothing annotated", "nothing imaged", "one pixel annotated"])
def test_a_batch_without_labels_gives_a_finite_loss_and_gradient(method, what):
    plan = make_plan()
    made, net = make(method, plan)
    batch = make_batch(plan)
    scribble, valid = torch.full_like(batch.scribble, IGNORE), batch.valid
    if what == "nothing imaged":
        scribble, valid = batch.scribble, torch.zeros_like(batch.valid)
    elif what == "one pixel annotated":
        scribble[0, 10, 10] = 1
    losses = made.losses(Batch(batch.image, scribble, valid, batch.possible), 0.5, torch.Generator().manual_seed(0))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("classes, channels, size", [(2, 1, (40, 24)), (5, 3, (37, 41)), (4, 1, (16, 64))])
def test_any_classes_channels_and_size(method, classes, channels, size):
    plan = make_plan(classes, channels)
    made, net = make(method, plan)
    history = train(made, net, make_batch(plan, size), 2)
    assert all(value == value for value in history[-1].values())


def test_what_was_not_imaged_changes_nothing(method):
    """Labels there are not read; the pixels are zeros by contract, so only the labels are tried."""
    plan = make_plan()
    batch = make_batch(plan)
    nonsense = batch.scribble.clone()
    nonsense[~batch.valid] = 1
    totals = []
    for scribble in (batch.scribble, nonsense):
        made, _ = make(method, plan)
        totals.append(
            made.losses(
                Batch(batch.image, scribble, batch.valid, batch.possible), 0.5, torch.Generator().manual_seed(1)
            )
        )
    torch.testing.assert_close(totals[0].total, totals[1].total)


def test_the_same_seed_gives_the_same_steps(method):
    plan = make_plan()
    histories = []
    for _ in range(2):
        made, net = make(method, plan)
        histories.append(train(made, net, make_batch(plan), 3))
    assert histories[0] == histories[1]


def test_a_restored_method_goes_on_where_it_stopped(method):
    plan = make_plan()
    batch = make_batch(plan)
    made, net = make(method, plan)
    train(made, net, batch, 3)
    state = {name: value.clone() for name, value in made.state_dict().items()}
    other, other_net = make(method, plan, seed=9)
    other_net.load_state_dict(net.state_dict())
    other.load_state_dict(state)
    first, second = (m.losses(batch, 0.5, torch.Generator().manual_seed(5)) for m in (made, other))
    torch.testing.assert_close(first.total, second.total)
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])


def test_inference_keeps_a_plain_segmentation_net(method):
    plan = make_plan()
    _, net = make(method, plan)
    kept = method.segmenter(net)
    assert isinstance(kept, SegmentationNet)
    assert kept.eval()(torch.zeros(1, 1, 20, 20)).shape == (1, 3, 20, 20)


def test_looking_moves_nothing(method):
    plan = make_plan()
    made, net = make(method, plan)
    batch = make_batch(plan)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    panels = made.picture(batch, 0.5, torch.Generator().manual_seed(0))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {"image", "scribble", "prediction"} <= panels.keys()
    assert all(panel.shape[-2:] == (32, 32) and len(panel) == plan.batch for panel in panels.values())


def test_every_method_says_what_it_is(method):
    assert method.name in METHODS and METHODS[method.name] is method
    assert method.summary and any(character.isdigit() for character in method.citation)


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(InputError, match="did you mean pclmix"):
        get_method("pclmx")
