"""A network's own labels of what it learns from: likely, possible by the strokes, drawn to the images' edges."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from pclmix.compare.base import Learnt
from pclmix.data.batches import BatchSource
from pclmix.data.folder import read_scribble
from pclmix.data.resample import plan_axis
from pclmix.data.volume import in_plane, read_image, to_slices
from pclmix.infer import predict_slices, to_native
from pclmix.labels import IGNORE
from pclmix.method.edges import draw_to_edges, grey_values, most_uniform
from pclmix.postprocess import keep_largest_components
from pclmix.threads import case_threads

Label = NDArray[np.uint8]
Places = dict[int, list[int]]
"""Places of slices by case."""
Possible = Callable[[int], NDArray[np.bool_]]
"""(K, H, W) of a slice by its place: where a class is possible."""

SAMPLE = 5
"""Cases by which the time is estimated."""


def own_labels(learnt: Learnt, source: BatchSource) -> list[Label]:
    """A label (H, W) of every training slice, annotated or not, at the plan's spacing, by its place.

    The most likely class among those that the strokes leave possible; of a structure that comes in one piece the
    largest pieces; with borders by `draw_to_edges` in the image's own grid, which is finer than the plan's; open
    (IGNORE) where nothing vouches for a piece and no ring tells what lies far off. Strokes keep what they say.
    """
    return _labelled(learnt, source, source.places_by_case(), source.possible)


def expected_seconds(learnt: Learnt, source: BatchSource) -> float:
    """What `own_labels` will take, by some annotated cases. Classes lie round their strokes, since the confetti of an
    untrained network would take longer than anything a trained one gives."""

    def nearest(place: int) -> NDArray[np.bool_]:
        strokes = source.strokes(place)
        index = ndimage.distance_transform_edt(strokes == IGNORE, return_distances=False, return_indices=True)
        label = strokes[tuple(index)]
        return np.arange(len(source.plan.classes))[:, None, None] == label

    every = source.places_by_case()
    annotated = [case for case in every if learnt.cases[case].label is not None]
    sample = {case: every[case] for case in annotated[: 2 * SAMPLE : 2]}
    start = time.perf_counter()
    _labelled(learnt, source, sample, nearest)
    return (time.perf_counter() - start) / len(sample) * len(every)


def _labelled(learnt: Learnt, source: BatchSource, places: Places, possible: Possible) -> list[Label]:
    normalised = (
        grey_values(_stacked(source.image, of_case), _stacked(source.strokes, of_case)) for of_case in places.values()
    )
    uniform = most_uniform(normalised)
    with case_threads(len(places)) as pool:
        made = pool.map(lambda case: _of_case(learnt, source, case, places[case], uniform, possible), places)
        by_place: dict[int, Label] = {}
        for of_case, labels in zip(places.values(), made, strict=True):
            by_place |= zip(of_case, labels, strict=True)
    return [by_place[place] for place in sorted(by_place)]


def _of_case(
    learnt: Learnt, source: BatchSource, number: int, places: Sequence[int], uniform: int | None, possible: Possible
) -> list[Label]:
    """The labels of a case's slices at `places`. Which pieces hang together is asked of the whole volume, its other
    slices included: those at `places` may lie apart in it, or in another order."""
    plan, case = source.plan, learnt.cases[number]
    images = [read_image(path) for path in case.images]
    axis = plan_axis(images[0], plan)
    shown = [source.slices[place][1] for place in places]
    image = np.stack([to_slices(volume.array, axis)[shown] for volume in images], axis=1)
    probabilities = predict_slices(learnt.net, source.cases[number].image, learnt.device, plan)
    allowed = torch.ones_like(probabilities, dtype=torch.bool)
    allowed[shown] = torch.from_numpy(_stacked(possible, places))
    labels, _ = to_native(probabilities * allowed, (image.shape[2], image.shape[3]), plan)
    strokes = np.full_like(labels, IGNORE)
    if case.label is not None:
        strokes = to_slices(read_scribble(learnt.dataset, case).array, axis)
    labels = keep_largest_components(labels, learnt.components)
    if uniform is not None:
        row, column = in_plane(images[0].geometry.spacing, axis)
        pixel = (row / plan.spacing[0], column / plan.spacing[1])
        labels[shown] = draw_to_edges(labels[shown], image, strokes[shown], uniform, pixel)
    if not plan.rings:
        labels = vouched_for(labels, strokes)
    found = torch.from_numpy(labels[shown])[:, None]
    coarse = functional.interpolate(found, probabilities.shape[2:], mode="nearest-exact")[:, 0].numpy()
    drawn = _stacked(source.strokes, places)
    return list(np.where(drawn == IGNORE, coarse, drawn))


def vouched_for(labels: Label, strokes: Label) -> Label:
    """A volume's `labels` (S, H, W), left open (IGNORE) where a connected piece of foreground holds no foreground
    stroke: it may be a look-alike, or what nobody painted. A volume without such strokes stays as it is."""
    drawn = (strokes > 0) & (strokes != IGNORE)
    if not drawn.any():
        return labels
    pieces, _ = ndimage.label(labels > 0)
    return np.where((labels > 0) & ~np.isin(pieces, pieces[drawn]), IGNORE, labels).astype(np.uint8)


def _stacked(of_place: Callable[[int], NDArray[Any]], places: Sequence[int]) -> NDArray[Any]:
    return np.stack([of_place(place) for place in places])
