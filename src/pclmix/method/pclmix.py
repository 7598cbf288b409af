"""PCLMix in one screen: look, contrast, mix, agree (arXiv 2405.06288; equations M1-M9 in docs/equations.md)."""

import torch
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.config import PCLMixSettings, Plan, Settings
from pclmix.data.batches import Batch
from pclmix.distributed import gathered
from pclmix.labels import IGNORE
from pclmix.method.consistency import decoder_difference, mix_consistency
from pclmix.method.contrast import cell_labels, cell_majority, class_keys, pixel_contrast, select_anchors
from pclmix.method.memory import Memory
from pclmix.method.mix import draw_mix, mix_batch, mixed_pseudo_label
from pclmix.method.schedule import contrast_weight, heterogeneous_weight
from pclmix.method.self_labelling import SelfLabelling
from pclmix.method.sparing import SparingPCLMix
from pclmix.method.supervision import absence_loss, rule_out, supervised_loss
from pclmix.method.uncertainty import certain_labels, entropy, mean_probability, most_likely
from pclmix.network.dual import dual_decoder_net
from pclmix.network.projection import STRIDE


class PCLMix(SelfLabelling):
    """The published method. Switched off, `mix` leaves out the second look with its halves of M6-M8, `consistency`
    M7 and M8, and `contrast` M3 and the memory.

    An unlabelled slice takes part in all but the losses on strokes: it is mixed, both decoders are to agree on it, and
    what they are certain of joins the contrast, as it is with the unlabelled pixels of any slice.

    With `sparing` set, `SparingPCLMix` takes its place.

    In a run of several processes it mixes and draws its partners within a rank's share of the batch and takes the
    anchors of M3 there; the keys of all ranks join the memory, which is the same on each (`distributed.py`)."""

    name = "pclmix"
    summary = "dynamic mix, pixel contrast with a memory, dual consistency of two unlike decoders"
    citation = "Lei et al., PCLMix, arXiv 2405.06288, ICIC 2024"
    heeds_absence = True
    OwnSettings = PCLMixSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: PCLMixSettings) -> None:
        super().__init__(net, plan, settings)
        self.absence = settings.absence if plan.complete_strokes or plan.rings else 0.0
        self.classes = len(plan.classes)
        self.memory = Memory(self.classes, settings.queue, plan.network.embedding)
        # With one foreground class there would be no negatives, so the background joins.
        self.contrasted = tuple(range(1 if self.classes > 2 else 0, self.classes))

    @classmethod
    def in_force(cls, settings: Settings) -> type[Method]:
        """`SparingPCLMix` where that is set."""
        return SparingPCLMix if cls.own(settings).sparing else cls

    @classmethod
    def unlabelled_since(cls, settings: Settings) -> float | None:
        """From the first step, unless mix, contrast and consistency are all left out: strokes alone say nothing about
        such a slice."""
        own = cls.own(settings)
        return 0.0 if own.mix or own.contrast or own.consistency else super().unlabelled_since(settings)

    @staticmethod
    def network(plan: Plan) -> nn.Module:
        """The dual-decoder network."""
        return dual_decoder_net(plan)

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """M9 of a batch at r = t/T, and our absence loss where the plan has strokes rule classes out.

        Once there are own labels, the main decoder's cross entropy + Dice on those."""
        if self.labels:
            losses = self.learnt_from_labels(self.net(batch.image, main_only=True).main, batch)
            return losses._replace(terms=self._no_terms() | losses.terms)
        weight = self.settings
        # 1 look
        look = self.net(batch.image, embed=weight.contrast)
        supervised = supervised_loss(look.main, look.auxiliary, batch.scribble, batch.valid, weight.auxiliary)
        terms = {"supervised": supervised}
        total = supervised
        if self.absence:
            absent = absence_loss(look.main, batch.possible, batch.valid)
            absent = absent + weight.auxiliary * absence_loss(look.auxiliary, batch.possible, batch.valid)
            total = total + self.absence * absent
            terms["absent"] = absent
        main, auxiliary = (rule_out(logits.detach(), batch.possible) for logits in (look.main, look.auxiliary))
        if weight.consistency:
            different = decoder_difference(look.main, look.auxiliary, batch.valid)
        # 2 contrast
        if weight.contrast:
            certain = certain_labels(mean_probability(main, auxiliary), batch.scribble, batch.valid, progress)
            contrast = self._contrast(look.main, look.embedding, certain, batch, generator)
            total = total + weight.contrastive * contrast_weight(progress, weight.contrast_warmup) * contrast
            terms["contrast"] = contrast
        # 3 mix, 4 agree
        if weight.mix:
            draw = draw_mix(len(batch.image), batch.scribble.shape[1:], weight.box_area, generator)
            mixed = mix_batch(draw, batch)
            agree = self.net(mixed.image, embed=False)
            mixed_supervised = supervised_loss(
                agree.main, agree.auxiliary, mixed.scribble, mixed.valid, weight.auxiliary
            )
            total = total + mixed_supervised
            terms["mixed"] = mixed_supervised
            if weight.consistency:
                pseudo = mixed_pseudo_label(draw, main, auxiliary)
                mixing = mix_consistency(agree.main, agree.auxiliary, pseudo, mixed.valid, weight.auxiliary)
                different = different + decoder_difference(agree.main, agree.auxiliary, mixed.valid)
                total = total + weight.consistent * mixing
                terms["mixing"] = mixing
        if weight.consistency:
            total = total + weight.consistent * heterogeneous_weight(progress) * different
            terms["decoders"] = different
        return Losses(total, self._no_terms() | {name: term.detach() for name, term in terms.items()})

    def _no_terms(self) -> dict[str, Tensor]:
        """The terms of a run, all of them 0: the log's rows may lie on both sides of the own labels."""
        weight = self.settings
        parts = {
            "supervised": True,
            "absent": self.absence > 0,
            "contrast": weight.contrast,
            "mixed": weight.mix,
            "mixing": weight.mix and weight.consistency,
            "decoders": weight.consistency,
            "dice": weight.own_labels < 1,
        }
        return {name: torch.zeros(()) for name, in_force in parts.items() if in_force}

    def _contrast(
        self, main: Tensor, embedding: Tensor, certain: Tensor, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """M3 on the embedding's grid, then the images' keys join the memory, those of all ranks."""
        self.memory.to(embedding.device)
        scribble = torch.where(batch.valid, batch.scribble, IGNORE)
        cells = cell_labels(certain, scribble, self.classes, STRIDE)
        prediction = cell_majority(most_likely(main.detach()), self.classes, STRIDE)
        classes = torch.tensor(self.contrasted, device=cells.device)
        settings = self.settings
        index, counted = select_anchors(
            cells, prediction, classes, settings.anchors_per_class, settings.anchors, generator
        )
        pixels = embedding.permute(0, 2, 3, 1).flatten(0, 2)
        loss = pixel_contrast(pixels[index], cells.flatten()[index], counted, self.memory, settings.temperature)
        keys, present = class_keys(embedding, cells, self.classes)
        takes_part = torch.isin(torch.arange(self.classes, device=cells.device), classes)
        self.memory.enqueue(gathered(keys), gathered(present & takes_part))
        return loss

    def state_dict(self) -> dict[str, Tensor]:
        """The memory, and the own labels."""
        return super().state_dict() | self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.memory.load_state_dict(state)

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The four steps as pictures."""
        look = self.net(batch.image, embed=False)
        main, auxiliary = rule_out(look.main, batch.possible), rule_out(look.auxiliary, batch.possible)
        probability = mean_probability(main, auxiliary)
        draw = draw_mix(len(batch.image), batch.scribble.shape[1:], self.settings.box_area, generator)
        mixed = mix_batch(draw, batch)
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "pseudo label": certain_labels(probability, batch.scribble, batch.valid, progress),
            "uncertainty": entropy(probability),
            "mixed image": mixed.image,
            "mixed scribble": mixed.scribble,
            "mixed label": mixed_pseudo_label(draw, main, auxiliary),
            "prediction": most_likely(look.main),
        } | ({"own label": self.label_panel(batch)} if self.labels else {})
