"""Scores of a model on the validation cases, during a run and at its end. Nothing is chosen by them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from torch import Tensor, nn

from pclmix import distributed
from pclmix.averaging import with_fresh_statistics
from pclmix.compare.base import Learnt
from pclmix.config import ClassGroup, Plan
from pclmix.data.cache import CachedCase
from pclmix.data.folder import Case, Dataset, read_dense
from pclmix.data.volume import in_plane, read_geometry, slice_axis, to_slices
from pclmix.doubt import Calibration, calibrate, confidence
from pclmix.evaluate import Evaluation, Score, evaluate_case, summarise, to_json
from pclmix.evaluate import render as render_evaluation
from pclmix.infer import predict_slices, to_native
from pclmix.labels import IGNORE
from pclmix.network.copies import passes
from pclmix.network.fast import for_inference
from pclmix.postprocess import choose_components, component_groups, keep_largest_components
from pclmix.session import Session

STROKE_CASES = 16
"""Most training cases predicted at the end to choose the post-processing."""

SAMPLE = 5
"""Cases on which the time of a validation is estimated."""


@dataclass(frozen=True)
class Validation:
    """`plain` is scored without averaging over copies and post-processing, `default` as `predict` does by default; both
    are None where no validation case has a dense label. `strokes`: pCE and agreement on the scribbles of validation
    cases. `doubt`: what the expected Dice of a prediction was calibrated to, where there were cases enough."""

    plain: Evaluation | None
    default: Evaluation | None
    strokes: dict[str, float]
    doubt: Calibration | None = None

    def figures(self) -> dict[str, float]:
        """One flat row for the logs."""
        row: dict[str, float] = {}
        for prefix, evaluation in (("plain_", self.plain), ("", self.default)):
            if evaluation is not None:
                row |= {f"{prefix}dice": evaluation.mean.dice, f"{prefix}hd95": evaluation.mean.hd95}
                row[f"{prefix}infinite"] = evaluation.mean.infinite
                row |= {f"{prefix}dice_{label}": summary.dice for label, summary in evaluation.classes.items()}
        return row | self.strokes

    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON has them."""
        parts = {"default": self.default, "plain": self.plain}
        doubt = {} if self.doubt is None else {"doubt": self.doubt.quality}
        scores = {name: to_json(part) for name, part in parts.items() if part is not None}
        return scores | {"strokes": self.strokes} | doubt


def render(validation: Validation) -> Group:
    """Tables for a terminal."""
    parts: list[Any] = []
    if validation.default is not None:
        parts.append(render_evaluation(validation.default, "validation, as predict gives it by default"))
    if validation.plain is not None:
        parts.append(
            render_evaluation(validation.plain, "validation, without averaging over copies and post-processing")
        )
    if validation.strokes:
        parts.append("on the strokes: " + ", ".join(f"{k} {v:.4f}" for k, v in validation.strokes.items()))
    return Group(*parts)


@dataclass(frozen=True)
class Validator:
    """Scores the averaged weights: in passing during a run, in full at its end. Case lists run parallel, but that
    `train_cases` holds the unlabelled ones, too.

    Of several ranks each predicts and scores a part of the cases, and all get all figures.
    """

    dataset: Dataset
    cases: Sequence[Case]
    cached: Sequence[CachedCase]
    train_cases: Sequence[Case]
    train_cached: Sequence[CachedCase]
    plan: Plan
    device: torch.device
    statistics_batches: int

    def during(self, session: Session) -> Validation:
        """Without averaging over copies and post-processing, which would cost several times as much."""
        return self._validate(self._quick(self._fresh(session, session.averaged.net)), self.plan, full=False)

    def at_end(self, session: Session) -> tuple[nn.Module, Plan, Validation]:
        """The result's network, the plan with its post-processing, and the scores with and without it."""
        net = self._fresh(session, session.averaged.net)
        quick = self._quick(net)
        plan = self.plan.model_copy(update={"largest_component": self._components(quick)})
        validation = self._validate(quick, plan, full=True)
        if validation.doubt is not None:
            plan = plan.model_copy(update={"doubt": validation.doubt.lines})
        return net, plan, validation

    def learnt(self, session: Session) -> Learnt:
        """What the run has learnt so far, for a method that looks back."""
        quick = self._quick(self._fresh(session, session.averaged.net))
        return Learnt(quick, self.device, self._components(quick), self.dataset, self.train_cases)

    def last_weights(self, session: Session) -> nn.Module:
        """The last weights, not averaged, with fresh statistics."""
        return self._fresh(session, session.kept)

    def expected_seconds(self, session: Session, validations: int, looks_back: bool = False) -> float:
        """Estimate of all that a run does besides its steps, from a small sample of it. One that looks back estimates
        statistics and chooses post-processing twice."""
        start = time.perf_counter()
        net = with_fresh_statistics(session.averaged.net, _images(session, 3))
        validations = validations if self.cases else 1
        total = (validations + 1 + looks_back) * (time.perf_counter() - start) / 3 * self.statistics_batches
        shown = self.train_cached[: 2 * SAMPLE : 2]
        quick = self._quick(net)
        start = time.perf_counter()
        for cached in shown:
            predict_slices(quick, cached.image, self.device)
        a_pixel = (time.perf_counter() - start) / sum(cached.image.size for cached in shown)
        ranks = distributed.world()
        scored = sum(cached.image.size for cached in self.cached) / ranks
        chosen_by = sum(cached.image.size for cached in self.train_cached[:: self._stride()]) / ranks
        copies = passes(self.plan.mirror, self.plan.turn)
        more = copies if copies > 1 else 0
        total += a_pixel * ((validations + more) * scored + copies * (1 + looks_back) * chosen_by)
        return total + (validations + 1) * self._scoring_seconds() / ranks

    def _scoring_seconds(self) -> float:
        """What scoring all cases once takes. The truth stands in for the prediction, since the confetti of an untrained
        network takes many times as long as anything a trained one gives."""
        dense = [case for case in self.cases if case.dense is not None]
        start = time.perf_counter()
        for case in dense[:SAMPLE]:
            array, spacing = self._truth(case)
            evaluate_case(array, array, spacing, range(1, len(self.plan.classes)))
        return (time.perf_counter() - start) / max(1, len(dense[:SAMPLE])) * len(dense)

    def _truth(self, case: Case) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
        """Dense labels as slices, and their spacing (slice, row, column), both along the axes of the image's slices."""
        shape, geometry = read_geometry(case.images[0])
        axis = slice_axis(shape, geometry.spacing, self.plan.slice_axis)
        row, column = in_plane(geometry.spacing, axis)
        return to_slices(read_dense(self.dataset, case).array, axis), (geometry.spacing[axis], row, column)

    def _fresh(self, session: Session, net: nn.Module) -> nn.Module:
        return with_fresh_statistics(net, _images(session, self.statistics_batches))

    def _quick(self, net: nn.Module) -> nn.Module:
        """The network as `predict` runs it, so that its files score the same."""
        return for_inference(net, self.device)

    def _stride(self) -> int:
        return max(1, -(-len(self.train_cached) // STROKE_CASES))

    def begun(self, session: Session) -> Learnt:
        """The same before a run's first steps: a network that knows nothing, to measure with."""
        return Learnt(self._quick(session.averaged.net), self.device, (), self.dataset, self.train_cases)

    def _components(self, net: nn.Module) -> tuple[ClassGroup, ...]:
        return choose_components(self._stroke_pairs(net), component_groups(self.plan))

    def _stroke_pairs(self, net: nn.Module) -> Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """(prediction, scribble) of some training cases at the plan's spacing."""

        def pair(case: CachedCase) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            probabilities = predict_slices(net, case.image, self.device, self.plan)
            return probabilities.argmax(dim=1).to(torch.uint8).numpy(), np.asarray(case.label)

        return distributed.share_out(pair, self.train_cached[:: self._stride()])

    def _validate(self, net: nn.Module, plan: Plan, *, full: bool) -> Validation:
        def scored(pair: tuple[Case, CachedCase]) -> _Scored:
            case, cached = pair
            probabilities = predict_slices(net, cached.image, self.device)
            strokes = _strokes(probabilities, cached.label)
            looks: list[_Look] = []
            if case.dense is not None:
                looks.append(self._score(case, probabilities, plan, ()))
                if full:
                    if passes(plan.mirror, plan.turn) > 1:  # else both looks are at the same probabilities
                        probabilities = predict_slices(net, cached.image, self.device, plan)
                    looks.append(self._score(case, probabilities, plan, plan.largest_component))
            return _Scored(case.id, case.patient, looks, strokes)

        pairs = list(zip(self.cases, self.cached, strict=True))
        results = list(distributed.share_out(scored, pairs))
        plain, default = ({one.case: one.looks[n].scores for one in results if len(one.looks) > n} for n in (0, 1))
        return Validation(
            summarise(plain) if plain else None,
            summarise(default) if default else None,
            _stroke_figures([one.strokes for one in results]),
            calibrate([(one.patient, *one.looks[1]) for one in results if len(one.looks) > 1]),
        )

    def _score(self, case: Case, probabilities: Tensor, plan: Plan, kept: Sequence[ClassGroup]) -> "_Look":
        reference, spacing = self._truth(case)
        labels, native = to_native(probabilities, (reference.shape[1], reference.shape[2]), plan)
        labels = keep_largest_components(labels, kept)
        scores = evaluate_case(labels, reference, spacing, range(1, len(plan.classes)))
        return _Look(scores, confidence(native, torch.from_numpy(labels)))


class _Look(NamedTuple):
    """A predicted case: its scores, and the confidence in each class."""

    scores: dict[int, Score]
    confidences: list[float]


class _Strokes(NamedTuple):
    """Over the annotated pixels of a case: the sum of -ln p, and how many of them are predicted right."""

    loss: float
    right: float
    pixels: int


class _Scored(NamedTuple):
    """Scores of a case, plain and then (in full) as by default, none without dense labels; and those on its strokes."""

    case: str
    patient: str
    looks: list[_Look]
    strokes: _Strokes


def _strokes(probabilities: Tensor, label: NDArray[np.uint8]) -> _Strokes:
    target = torch.from_numpy(np.asarray(label).astype(np.int64))
    known = target != IGNORE
    picked = probabilities.permute(0, 2, 3, 1)[known]
    wanted = target[known]
    loss = -float(picked.gather(1, wanted[:, None]).clamp_min(1e-12).log().sum())
    return _Strokes(loss, float((picked.argmax(dim=1) == wanted).sum()), int(known.sum()))


def _stroke_figures(cases: list[_Strokes]) -> dict[str, float]:
    """pCE and agreement over all annotated pixels."""
    count = sum(case.pixels for case in cases)
    if not count:
        return {}
    loss, right = sum(case.loss for case in cases), sum(case.right for case in cases)
    return {"stroke_pce": loss / count, "stroke_agreement": right / count}


def _images(session: Session, batches: int) -> Iterator[Tensor]:
    return (session.placed(session.source.plain_batch(index)).image for index in range(batches))
