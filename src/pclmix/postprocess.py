"""Keeping the largest component of a class, and when to: decided by the strokes of training cases, by no truth."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pclmix.config import ClassGroup, Plan
from pclmix.metrics import bounding_box

LOST_STROKES = 0.01
"""A group keeps its largest component only if at most this share of the strokes it hits lies outside of it."""


def keep_largest_component(labels: NDArray[np.uint8], groups: Sequence[ClassGroup]) -> NDArray[np.uint8]:
    """A copy of a 3-D label map in which the classes of each group, taken together, keep their largest component only.

    Groups are treated in their order. Voxels that share a face, an edge or a corner are connected; the rest becomes
    background.
    """
    out = labels.copy()
    inside = out[bounding_box(labels > 0)]
    for group in groups:
        components, count = _components(np.isin(inside, group))
        if count > 1:
            inside[(components > 0) & (components != _largest(components))] = 0
    return out


def component_groups(plan: Plan) -> tuple[ClassGroup, ...]:
    """All structures together, then each by itself: what may be asked to be one piece."""
    each = tuple((label,) for label in range(1, len(plan.classes)))
    return (tuple(range(1, len(plan.classes))), *each) if len(each) > 1 else each


def choose_components(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], groups: Sequence[ClassGroup]
) -> tuple[ClassGroup, ...]:
    """Groups that should keep their largest component only, in order, from (prediction, scribble) of training cases.

    A structure may come in pieces (two kidneys, many lesions). If so, strokes that the prediction hits lie outside the
    largest piece; if hardly any does, what lies outside is taken for a false positive. A group is judged by what the
    groups before it, where they were chosen, have left.
    """
    known = list(pairs)
    chosen: list[ClassGroup] = []
    for group in groups:
        hit = lost = 0
        for prediction, scribble in known:
            predicted = np.isin(prediction, group)
            strokes = predicted & np.isin(scribble, group)
            hit += int(strokes.sum())
            components, count = _components(predicted)
            if count > 1:
                lost += int((strokes & (components != _largest(components))).sum())
        if hit and lost <= LOST_STROKES * hit:
            chosen.append(tuple(group))
            known = [(keep_largest_component(prediction, (group,)), scribble) for prediction, scribble in known]
    return tuple(chosen)


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    return components, int(count)


def _largest(components: NDArray[np.int32]) -> int:
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return int(sizes.argmax())
