from dataclasses import replace

import torch
from compare.contract import MethodContract, make_plan, make_source

from pclmix.compare.soft_dice import soft_dice_loss
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy


class TestPartialLoss(MethodContract):
    name = "nnunet_pl"

    def test_the_total_is_m5_and_the_partial_dice(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        logits = net(batch.image)
        expected = partial_cross_entropy(logits, batch.scribble, batch.valid)
        expected = expected + soft_dice_loss(logits, batch.scribble, batch.valid)
        torch.testing.assert_close(made.losses(batch, 0.5, torch.Generator()).total, expected)

    def test_nothing_annotated_costs_nothing(self):
        plan = make_plan()
        made, _ = self.make(plan)
        batch = make_source(plan).batch(0)
        bare = replace(batch, scribble=torch.full_like(batch.scribble, IGNORE))
        assert made.losses(bare, 0.5, torch.Generator()).total == 0
