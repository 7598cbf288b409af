import torch
from compare.contract import MethodContract, make_plan, make_source

from pclmix.method.supervision import partial_cross_entropy


class TestPartialCrossEntropy(MethodContract):
    name = "pce"

    def test_the_total_is_m5(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        total = made.losses(batch, 0.5, torch.Generator()).total
        torch.testing.assert_close(total, partial_cross_entropy(net(batch.image), batch.scribble, batch.valid))
