"""Labels that the averaged weights give the training slices, to learn from late in a run (ours, not the paper's)."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pclmix.averaging import with_fresh_statistics
from pclmix.config import ClassGroup, Plan
from pclmix.data.batches import BatchSource
from pclmix.infer import predict_slices
from pclmix.labels import IGNORE
from pclmix.method.uncertainty import certain_labels
from pclmix.network.dual import segmentation_net
from pclmix.network.fast import for_inference
from pclmix.postprocess import choose_components, component_groups, keep_largest_component

JUDGED = 16
"""Most cases by whose strokes it is judged which structures are one piece."""

SAMPLE = 3
"""Cases by which the time of a lesson is estimated."""


class Teacher:
    """Labels every annotated training slice, whole and not augmented, by a network of averaged weights.

    A pixel gets the stroke that lies on it, else the likeliest class of those that the strokes leave possible, where it
    is certain by M2; IGNORE where it is not, and where it belongs to a stray piece of a structure that the strokes show
    to be one piece. `labels`: (h, w) uint8 a slice, by its place; all IGNORE before the first lesson.
    """

    def __init__(self, source: BatchSource, plan: Plan) -> None:
        self.source, self.plan = source, plan
        self.lessons, self.progress = 0, 0.0
        self.net: nn.Module | None = None
        self.labels: list[NDArray[np.uint8]] = []
        self.places: dict[int, dict[int, int]] = {}
        for place, (case, index) in enumerate(source.slices):
            self.labels.append(np.full(source.strokes(place).shape, IGNORE, np.uint8))
            self.places.setdefault(case, {})[index] = place

    def teach(self, averaged: nn.Module, progress: float) -> None:
        """Label all slices anew by `averaged`, at r = t/T."""
        device = next(averaged.parameters()).device
        self.net = with_fresh_statistics(averaged, self._unmixed(device, self.source.train.statistics_batches))
        self.lessons, self.progress = self.lessons + 1, progress
        self._label()

    def seconds(self, device: torch.device) -> float:
        """What a lesson takes, estimated by a few cases and a few batches, with any weights."""
        untaught = self._network(device)
        start = time.perf_counter()
        net = with_fresh_statistics(untaught, self._unmixed(device, SAMPLE))
        statistics = (time.perf_counter() - start) / SAMPLE * self.source.train.statistics_batches
        cases = list(self.places)[:: max(1, len(self.places) // SAMPLE)][:SAMPLE]
        start = time.perf_counter()
        quick = for_inference(net, device)
        for case in cases:
            self._accepted(case, self._probable(quick, case, device), ())
        pixels = sum(self.source.cases[case].image.size for case in self.places)
        share = sum(self.source.cases[case].image.size for case in cases) / pixels
        return statistics + (time.perf_counter() - start) / share

    def _network(self, device: torch.device) -> nn.Module:
        net = segmentation_net(self.plan.without_weights())
        return net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _unmixed(self, device: torch.device, batches: int) -> Iterator[Tensor]:
        plain = (self.source.plain_batch(index).image for index in range(batches))
        return (image.to(device, memory_format=torch.channels_last) for image in plain)

    def _label(self) -> None:
        assert self.net is not None
        device = next(self.net.parameters()).device
        net, cases = for_inference(self.net, device), list(self.places)
        judges = cases[:: -(-len(cases) // JUDGED)]
        found = ((self._probable(net, case, device), self.source.cases[case].label) for case in judges)
        pairs = [(likeliest(probability), np.asarray(strokes)) for probability, strokes in found]
        groups = choose_components(pairs, component_groups(self.plan))
        for case in cases:
            labels = self._accepted(case, self._probable(net, case, device), groups)
            for index, place in self.places[case].items():
                self.labels[place][:] = labels[index]

    def _probable(self, net: nn.Module, case: int, device: torch.device) -> Tensor:
        """(S, K, h, w) of all slices of a case; in the annotated ones, among what their strokes leave possible."""
        probability = predict_slices(net, self.source.cases[case].image, self.plan.mirror, device)
        possible = torch.ones(probability.shape, dtype=torch.bool)
        for index, place in self.places[case].items():
            possible[index] = torch.from_numpy(self.source.possible(place))
        probability = probability * possible
        return probability / probability.sum(dim=1, keepdim=True).clamp_min(1e-12)

    def _accepted(self, case: int, probability: Tensor, groups: tuple[ClassGroup, ...]) -> NDArray[np.uint8]:
        """(S, h, w) labels of all slices of a case."""
        strokes = torch.from_numpy(np.array(self.source.cases[case].label))
        certain = certain_labels(probability, strokes, torch.ones_like(strokes, dtype=torch.bool), self.progress)
        first = likeliest(probability)
        stray = torch.from_numpy(keep_largest_component(first, groups) != first) & (strokes == IGNORE)
        return torch.where(stray, IGNORE, certain).to(torch.uint8).numpy()

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the last lesson, from which its labels are made again."""
        if self.net is None:
            return {}
        numbers = {"lessons": torch.tensor(self.lessons), "progress": torch.tensor(self.progress, dtype=torch.float64)}
        return numbers | {f"weights.{name}": tensor for name, tensor in self.net.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Restore the lessons and the labels."""
        if "lessons" not in state:
            return
        net, start = self._network(device), "weights."
        net.load_state_dict({name.removeprefix(start): value for name, value in state.items() if start in name})
        self.net = net.eval()
        self.lessons, self.progress = int(state["lessons"]), float(state["progress"])
        self._label()


def likeliest(probability: Tensor) -> NDArray[np.uint8]:
    """(S, K, h, w) -> (S, h, w)."""
    found: NDArray[np.uint8] = probability.max(dim=1).indices.to(torch.uint8).numpy()
    return found
