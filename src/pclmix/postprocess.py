"""Keeping the largest components of a class, and when to: decided by the strokes of training cases, by no truth."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pclmix.config import ClassGroup, Plan
from pclmix.metrics import bounding_box

LIKE_THE_LARGEST = 0.5
"""A component stays if it has at least this share of the voxels of the largest. A heart that a lost slice cuts in two
would else lose half of itself, and of two kidneys one would go."""
LOST_STROKES = 0.01
"""A group keeps its largest components only if at most this share of the strokes it hits lies outside the largest."""


def keep_largest_components(labels: NDArray[np.uint8], groups: Sequence[ClassGroup]) -> NDArray[np.uint8]:
    """A copy of a 3-D label map in which the classes of each group, taken together, keep their largest components only:
    the largest, and such as have at least half of its voxels.

    Groups are treated in their order. Voxels that share a face, an edge or a corner are connected; the rest becomes
    background.
    """
    out = labels.copy()
    inside = out[bounding_box(labels > 0)]
    for group in groups:
        inside[_components_below(np.isin(inside, group), LIKE_THE_LARGEST)] = 0
    return out


def component_groups(plan: Plan) -> tuple[ClassGroup, ...]:
    """All structures together, then each by itself: what may be asked to be one piece."""
    each = tuple((label,) for label in range(1, len(plan.classes)))
    return (tuple(range(1, len(plan.classes))), *each) if len(each) > 1 else each


def choose_components(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], groups: Sequence[ClassGroup]
) -> tuple[ClassGroup, ...]:
    """Groups that should keep their largest components only, in order, from (prediction, scribble) of training cases.

    A structure may come in pieces (lesions, cells). If so, strokes that the prediction hits lie in others than the
    largest; if hardly any does, what lies there is taken for a false positive. Pieces of like size count as others
    here: who paints two of many cells says nothing against the small ones. A group is judged by what the groups before
    it, where they were chosen, have left.
    """
    known = list(pairs)
    chosen: list[ClassGroup] = []
    for group in groups:
        hit = lost = 0
        for prediction, scribble in known:
            predicted = np.isin(prediction, group)
            strokes = predicted & np.isin(scribble, group)
            hit += int(strokes.sum())
            lost += int((strokes & _components_below(predicted, 1.0)).sum())
        if hit and lost <= LOST_STROKES * hit:
            chosen.append(tuple(group))
            known = [(keep_largest_components(prediction, (group,)), scribble) for prediction, scribble in known]
    return tuple(chosen)


def _components_below(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Voxels of components with less than this share of the voxels of the largest."""
    components, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=1)
    sizes[0] = 0
    below = sizes < share * sizes.max()
    below[0] = False
    return below[components]
