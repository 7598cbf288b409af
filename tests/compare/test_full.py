from dataclasses import replace

import torch
from compare.contract import MethodContract, make_plan, make_source

from pclmix.compare.soft_dice import soft_dice_loss
from pclmix.data.crops import crop_labels
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy


class TestFullSupervision(MethodContract):
    name = "full"

    def test_the_total_is_cross_entropy_and_dice_on_the_dense_labels(self):
        plan = make_plan()
        made, net = self.make(plan)
        source = make_source(plan)
        batch = source.batch(0)
        logits = net(batch.image)
        dense = crop_labels([source.dense(place) for place in range(len(source.slices))], batch)
        expected = partial_cross_entropy(logits, dense, batch.valid) + soft_dice_loss(logits, dense, batch.valid)
        torch.testing.assert_close(made.losses(batch, 0.5, torch.Generator()).total, expected)

    def test_strokes_are_not_read(self):
        plan = make_plan()
        made, _ = self.make(plan)
        batch = make_source(plan).batch(0)
        bare = replace(batch, scribble=torch.full_like(batch.scribble, IGNORE))
        totals = [made.losses(one, 0.5, torch.Generator()).total for one in (batch, bare)]
        torch.testing.assert_close(*totals)

    def test_it_asks_for_dense_labels(self):
        assert self.method.needs_dense
