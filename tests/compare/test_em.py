import math

import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import pixels, softmax

from pclmix.compare.em import mean_entropy
from pclmix.method.supervision import partial_cross_entropy


def slow_mean_entropy(logits, valid):
    terms = []
    for b, y, x in pixels(logits):
        if valid[b, y, x]:
            p = softmax(logits[b, :, y, x])
            terms.append(-sum(v * math.log(v) for v in p) / math.log(len(p)))
    return sum(terms) / len(terms) if terms else 0.0


class TestEntropyMinimisation(MethodContract):
    name = "em"

    def test_the_total_is_m5_and_a_tenth_of_the_entropy(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        total = made.losses(batch, 0.5, torch.Generator()).total
        logits = net(batch.image)
        expected = partial_cross_entropy(logits, batch.scribble, batch.valid) + 0.1 * mean_entropy(logits, batch.valid)
        torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("share", [0.6, 0.0, 1.0])
def test_the_entropy_is_that_of_a_slow_loop(share):
    logits, valid = 3 * torch.randn(2, 4, 3, 5), torch.rand(2, 3, 5) < share
    expected = slow_mean_entropy(logits.double().numpy(), valid.numpy())
    assert float(mean_entropy(logits, valid)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_is_1_for_equal_logits_and_0_for_sure_ones(classes):
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    assert float(mean_entropy(torch.zeros(1, classes, 4, 4), valid)) == pytest.approx(1)
    sure = torch.zeros(1, classes, 4, 4)
    sure[:, 1] = 100
    assert float(mean_entropy(sure, valid)) == pytest.approx(0, abs=1e-6)
