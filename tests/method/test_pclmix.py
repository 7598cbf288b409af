"""The screen: the weighted sum, two network passes a step, and what each switch leaves out."""

import numpy as np
import pytest
import references
import torch
from compare.contract import make_plan, make_source

from pclmix.compare.full import FullSupervision
from pclmix.config import NetworkSettings, PCLMixSettings, Plan
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.mix import draw_mix
from pclmix.method.pclmix import PCLMix
from pclmix.network.dual import Look


def plan(classes=4, channels=1):
    return Plan(
        channels=tuple(f"c{i}" for i in range(channels)),
        classes={"background": 0, **{f"k{i}": i for i in range(1, classes)}},
        spacing=(1, 1),
        crop=(32, 32),
        batch=4,
        depth=4,
        intensity=("zscore",) * channels,
        network=NetworkSettings(swin_width=16, embedding=8),
    )


def batch(classes=4, channels=1):
    generator = torch.Generator().manual_seed(0)
    scribble = torch.randint(0, classes, (4, 32, 32), generator=generator)
    scribble[torch.rand(4, 32, 32, generator=generator) < 0.8] = IGNORE
    valid = torch.ones(4, 32, 32, dtype=torch.bool)
    for index in range(4):
        valid[index, : 3 + 4 * index] = False
    possible = torch.ones(4, classes, 32, 32, dtype=torch.bool)
    possible[1, 2:] = False
    return Batch(torch.randn(4, channels, 32, 32, generator=generator), scribble, valid, possible)


class Counting(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.looks = net, []

    def forward(self, x, embed=True, main_only=False):
        self.looks.append("main" if main_only else embed)
        return self.net(x, embed=embed, main_only=main_only)


def made(**switches):
    torch.manual_seed(0)
    net = Counting(PCLMix.network(plan()))
    return PCLMix(net, plan(), PCLMixSettings(contrast_warmup=0, **switches)), net


def test_m9_total_is_the_weighted_sum():
    method, _ = made(auxiliary=0.4, contrastive=0.3, consistent=0.7)
    generator = torch.Generator().manual_seed(1)
    method.losses(batch(), 0.5, generator)  # fills the memory
    losses = method.losses(batch(), 0.5, generator)
    t = {name: float(value) for name, value in losses.terms.items()}
    assert t["contrast"] > 0
    expected = references.m9(t["supervised"] + t["mixed"], t["contrast"], t["mixing"], t["decoders"], 0.5, 0.3, 0.7)
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5)


class Fixed(torch.nn.Module):
    """Logits and embeddings as fixed functions of the image, so that a step can be told again from outside."""

    def forward(self, x, embed=True):
        levels = torch.arange(4.0).view(1, 4, 1, 1)
        sure = torch.linspace(3, 5, 32)  # from left to right, so that the bound of M2 matters
        main, auxiliary = sure * torch.sin(0.3 * x + 2 * levels), sure * torch.sin(0.4 * x + 2 * levels + 0.4)
        cells = torch.nn.functional.avg_pool2d(x, 8)
        unit = torch.nn.functional.normalize(torch.cat([torch.sin((i + 2) * cells + i) for i in range(8)], 1), dim=1)
        return Look(main, auxiliary, unit if embed else None)


@pytest.mark.parametrize("r", [0.35, 0.8])
def test_a_step_is_the_four_steps_of_the_paper(r):
    """The whole loss, told again from the network's outputs with the slow references alone."""
    method = PCLMix(Fixed(), plan(), PCLMixSettings(contrast_warmup=0, contrastive=0.3, consistent=0.7))
    first, b = batch(), batch()
    b.scribble[:, 16:] = IGNORE  # cells without a stroke go by the certain labels
    method.losses(first, r, torch.Generator().manual_seed(9))  # fills the memory
    keys, counts = method.memory.keys.tolist(), method.memory.counts.tolist()
    losses = method.losses(b, r, torch.Generator().manual_seed(1))
    # 1 look
    look = Fixed()(b.image)
    main, auxiliary = look.main.numpy(), look.auxiliary.numpy()
    scribble, valid = b.scribble.numpy(), b.valid.numpy()
    possible = b.possible.numpy()
    ruled_main = np.where(possible, main, -np.inf)
    ruled_auxiliary = np.where(possible, auxiliary, -np.inf)
    supervised = references.m6_half(main, auxiliary, scribble, valid, 0.4)
    # 2 contrast: every cell of a foreground class is an anchor, since they are fewer than the quotas
    certain = references.m2(ruled_main, ruled_auxiliary, scribble, valid, r)
    cells = references.cells(certain, scribble, valid, 4, 8)
    anchors = [place for place, label in cells.items() if label not in (0, IGNORE)]
    embedding = look.embedding.numpy()
    contrast = references.m3(
        [embedding[i, :, y, x].tolist() for i, y, x in anchors], [cells[a] for a in anchors], keys, counts, 0.07
    )
    # 3 mix
    chance = torch.Generator().manual_seed(1)
    torch.rand(4, 16, generator=chance)  # the anchors' draw
    draw = draw_mix(4, (32, 32), 0.2, chance)
    pi_c, pi_t, inside = draw.main.tolist(), draw.auxiliary.tolist(), draw.inside.numpy()
    mixed, pseudo = references.m4(b.image.numpy(), ruled_main, ruled_auxiliary, pi_c, pi_t, inside, draw.main_inside)
    source = {place: (pi_c if inside[place] == draw.main_inside else pi_t)[place[0]] for place in mixed}

    def gathered(values):
        out = np.zeros_like(values)
        for (i, y, x), origin in source.items():
            out[i, y, x] = values[origin, y, x]
        return out

    image, targets = np.zeros((4, 1, 32, 32), np.float32), np.zeros((4, 32, 32), int)
    for (i, y, x), value in mixed.items():
        image[i, 0, y, x], targets[i, y, x] = value, pseudo[i, y, x]
    # 4 agree
    agree = Fixed()(torch.from_numpy(image))
    mixed_main, mixed_auxiliary = agree.main.numpy(), agree.auxiliary.numpy()
    mixed_valid = gathered(valid)
    assert (mixed_valid != valid).any()
    mixed_supervised = references.m6_half(mixed_main, mixed_auxiliary, gathered(scribble), mixed_valid, 0.4)
    mixing = references.m7(mixed_main, mixed_auxiliary, targets, mixed_valid, 0.4)
    different = references.m8_part(main, auxiliary, valid)
    different += references.m8_part(mixed_main, mixed_auxiliary, mixed_valid)
    expected = references.m9(supervised + mixed_supervised, contrast, mixing, different, r, 0.3, 0.7)
    assert contrast > 0 and float(losses.total) == pytest.approx(expected, rel=1e-4)


def test_two_network_passes_a_step_and_one_embedding():
    method, net = made()
    method.losses(batch(), 0.5, torch.Generator().manual_seed(1))
    assert net.looks == [True, False]


@pytest.mark.parametrize(
    ("switch", "left"),
    [
        ("mix", {"supervised", "contrast", "decoders"}),
        ("contrast", {"supervised", "mixed", "mixing", "decoders"}),
        ("consistency", {"supervised", "mixed", "contrast"}),
    ],
)
def test_switches(switch, left):
    method, net = made(**{switch: False})
    losses = method.losses(batch(), 0.5, torch.Generator().manual_seed(1))
    assert set(losses.terms) == left
    assert len(net.looks) == (1 if switch == "mix" else 2)
    assert bool(method.memory.counts.any()) == (switch != "contrast")


def test_once_there_are_own_labels_the_main_decoder_alone_learns_from_those():
    torch.manual_seed(0)
    small = make_plan()
    net = Counting(PCLMix.network(small))
    method, source = PCLMix(net, small, PCLMixSettings(own_labels=0.5)), make_source(small)
    method.prepare(source)
    before = method.losses(source.batch(0), 0.4, torch.Generator().manual_seed(1))
    assert before.terms["dice"] == 0 and before.terms["mixed"] > 0
    method.labels = [np.array(source.dense(place)) for place in range(len(source.slices))]
    net.looks.clear()
    after = method.losses(source.batch(0), 0.6, torch.Generator().manual_seed(1))
    full = FullSupervision(net.net.segmenter, small, FullSupervision.OwnSettings())
    full.prepare(source)
    assert torch.equal(after.total, full.losses(source.batch(0), 0.6, torch.Generator()).total)
    assert net.looks == ["main"]
    assert after.terms.keys() == before.terms.keys() and after.terms["mixed"] == 0 < after.terms["dice"]
    after.total.backward()
    assert all(weight.grad is not None for weight in net.net.segmenter.parameters())
    assert all(weight.grad is None for weight in net.net.auxiliary.parameters())
    assert "own label" in method.picture(source.batch(0), 0.6, torch.Generator())


def test_memory_and_own_labels_are_restored():
    small = make_plan()
    source = make_source(small)
    methods = []
    for _ in range(2):
        torch.manual_seed(0)
        methods.append(PCLMix(PCLMix.network(small), small, PCLMixSettings(contrast_warmup=0)))
        methods[-1].prepare(source)
    methods[0].losses(source.batch(0), 0.5, torch.Generator().manual_seed(1))
    methods[0].labels = [np.array(source.dense(place)) for place in range(len(source.slices))]
    methods[1].load_state_dict(methods[0].state_dict())
    assert methods[0].memory.counts.any() and torch.equal(methods[0].memory.keys, methods[1].memory.keys)
    assert [label.tolist() for label in methods[0].labels] == [label.tolist() for label in methods[1].labels]


def test_memory_holds_foreground_only_and_both_classes_of_two():
    method, _ = made()
    method.losses(batch(), 0.5, torch.Generator().manual_seed(1))
    assert method.memory.counts[0] == 0 and (method.memory.counts[1:] == 4).all()
    two = PCLMix(PCLMix.network(plan(2)), plan(2), PCLMixSettings())
    two.losses(batch(2), 0.5, torch.Generator().manual_seed(1))
    assert (two.memory.counts > 0).all()


def test_same_generator_same_losses():
    totals = []
    for _ in range(2):
        method, _ = made()
        totals.append(float(method.losses(batch(), 0.5, torch.Generator().manual_seed(5)).total.detach()))
    assert totals[0] == totals[1]


def test_picture_changes_nothing():
    method, net = made()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    panels = method.picture(batch(), 0.5, torch.Generator().manual_seed(1))
    assert {"image", "scribble", "pseudo label", "uncertainty", "mixed image", "prediction"} <= set(panels)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training


def test_what_strokes_rule_out_costs_and_never_becomes_a_pseudo_label():
    torch.manual_seed(0)
    ruling = plan().model_copy(update={"rings": True})
    net = PCLMix.network(ruling)
    with torch.no_grad():
        for decoder in (net.segmenter.decoder, net.auxiliary):
            decoder.head.bias[3] += 50  # sure of class 3 everywhere
    plain, weighed = batch(), []
    barred = plain.possible.clone()
    barred[:, 3] = False
    limited = Batch(plain.image, plain.scribble, plain.valid, barred)
    for absence in (0.0, 2.0):
        method = PCLMix(net, ruling, PCLMixSettings(contrast=False, consistency=False, absence=absence))
        weighed.append(method.losses(limited, 0.5, torch.Generator().manual_seed(1)))
    difference = float((weighed[1].total - weighed[0].total).detach())
    assert difference == pytest.approx(2 * float(weighed[1].terms["absent"]), rel=1e-4) and difference > 10
    assert "absent" not in weighed[0].terms
    with torch.no_grad():
        panels = method.panels(limited, 0.5, torch.Generator().manual_seed(1))
    assert (panels["prediction"] == 3).any() and not (panels["mixed label"] == 3).any()
