"""The screen: the weighted sum, two network passes a step, and what each switch leaves out."""

import pytest
import references
import torch

from pclmix.config import MethodSettings, NetworkSettings, Plan
from pclmix.data.batches import Batch
from pclmix.labels import IGNORE
from pclmix.method.pclmix import PCLMix


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
    valid[:, :3] = False
    possible = torch.ones(4, classes, 32, 32, dtype=torch.bool)
    possible[1, 2:] = False
    return Batch(torch.randn(4, channels, 32, 32, generator=generator), scribble, valid, possible)


class Counting(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.looks = net, []

    def forward(self, x, embed=True):
        self.looks.append(embed)
        return self.net(x, embed=embed)


def made(**switches):
    torch.manual_seed(0)
    net = Counting(PCLMix.network(plan()))
    return PCLMix(net, plan(), MethodSettings(contrast_warmup=0, **switches)), net


def test_m9_total_is_the_weighted_sum():
    method, _ = made(auxiliary=0.4, contrastive=0.3, consistent=0.7)
    generator = torch.Generator().manual_seed(1)
    method.losses(batch(), 0.5, generator)  # fills the memory
    losses = method.losses(batch(), 0.5, generator)
    t = {name: float(value) for name, value in losses.terms.items()}
    assert t["contrast"] > 0
    expected = references.m9(t["supervised"] + t["mixed"], t["contrast"], t["mixing"], t["decoders"], 0.5, 0.3, 0.7)
    assert float(losses.total) == pytest.approx(expected, rel=1e-5)


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


def test_memory_holds_foreground_only_and_both_classes_of_two():
    method, _ = made()
    method.losses(batch(), 0.5, torch.Generator().manual_seed(1))
    assert method.memory.counts[0] == 0 and (method.memory.counts[1:] == 4).all()
    two = PCLMix(PCLMix.network(plan(2)), plan(2), MethodSettings())
    two.losses(batch(2), 0.5, torch.Generator().manual_seed(1))
    assert (two.memory.counts > 0).all()


def test_same_generator_same_losses():
    totals = []
    for _ in range(2):
        method, _ = made()
        totals.append(float(method.losses(batch(), 0.5, torch.Generator().manual_seed(5)).total))
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
        method = PCLMix(net, ruling, MethodSettings(contrast=False, consistency=False, absence=absence))
        weighed.append(method.losses(limited, 0.5, torch.Generator().manual_seed(1)))
    difference = float((weighed[1].total - weighed[0].total).detach())
    assert difference == pytest.approx(2 * float(weighed[1].terms["absent"]), rel=1e-4) and difference > 10
    assert "absent" not in weighed[0].terms
    with torch.no_grad():
        panels = method.panels(limited, 0.5, torch.Generator().manual_seed(1))
    assert (panels["prediction"] == 3).any() and not (panels["mixed label"] == 3).any()
