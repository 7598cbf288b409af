import numpy as np
import pytest
import torch
from compare.contract import MethodContract, make_plan, make_source
from references import argmax, m5

from pclmix.compare.trimix import partial_cross_entropies
from pclmix.method.mix import draw_mix


class TestTriMix(MethodContract):
    name = "trimix"

    def test_the_total_is_the_equation(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        losses = made.losses(batch, 0.5, torch.Generator().manual_seed(4))
        generator = torch.Generator().manual_seed(4)
        draws = [draw_mix(4, (32, 32), 0.2, generator) for _ in range(3)]
        scribble, valid, image = batch.scribble.numpy(), batch.valid.numpy(), batch.image.numpy()
        looks = [part(batch.image).detach().numpy() for part in net.nets]
        total, pseudo_only = 0.0, 0.0
        for i, draw in enumerate(draws):
            j, k = (other for other in range(3) if other != i)
            mixed, target = np.zeros_like(image), np.zeros_like(scribble)
            strokes, imaged = np.zeros_like(scribble), np.zeros_like(valid)
            for b, y, x in np.ndindex(scribble.shape):
                from_first = bool(draw.inside[b, y, x]) == draw.main_inside
                source, teacher = (int(draw.main[b]), j) if from_first else (int(draw.auxiliary[b]), k)
                mixed[b, :, y, x] = image[source, :, y, x]
                strokes[b, y, x], imaged[b, y, x] = scribble[source, y, x], valid[source, y, x]
                target[b, y, x] = argmax(looks[teacher][source, :, y, x].tolist())
            agree = net.nets[i](torch.from_numpy(mixed)).detach().numpy()
            pseudo = m5(agree, target, imaged)
            total += m5(looks[i], scribble, valid) + m5(agree, strokes, imaged) + pseudo
            pseudo_only += pseudo / 3
        assert losses.total.item() == pytest.approx(total, rel=1e-4)
        assert losses.terms["pseudo"].item() == pytest.approx(pseudo_only, rel=1e-4)

    def test_no_gradient_passes_from_a_network_to_its_teachers(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        looks = net(*[batch.image] * 3)
        mixes, labels = made._mix(batch, looks, torch.Generator().manual_seed(0))
        agree = net.nets[0](mixes[0].image)
        partial_cross_entropies((agree,), mixes[:1], labels[:1]).backward()
        assert all(parameter.grad is not None for parameter in net.nets[0].parameters())
        assert all(parameter.grad is None for part in net.nets[1:] for parameter in part.parameters())

    def test_the_networks_are_alike_but_start_differently(self):
        _, net = self.make(make_plan())
        first, *others = [part.state_dict() for part in net.nets]
        for other in others:
            assert {n: v.shape for n, v in first.items()} == {n: v.shape for n, v in other.items()}
            assert not torch.equal(first["encoder.levels.0.0.weight"], other["encoder.levels.0.0.weight"])

    def test_inference_keeps_the_first_network(self):
        _, net = self.make(make_plan())
        assert self.method.segmenter(net) is net.nets[0]

    def test_a_network_draws_its_own_mix(self):
        plan = make_plan()
        made, net = self.make(plan)
        batch = make_source(plan).batch(0)
        mixes, _ = made._mix(batch, net(*[batch.image] * 3), torch.Generator().manual_seed(0))
        assert not torch.equal(mixes[0].image, mixes[1].image) and not torch.equal(mixes[1].image, mixes[2].image)
