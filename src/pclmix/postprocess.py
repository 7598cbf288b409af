"""Keeping the largest component of a class, and when to: decided by the strokes of training cases, by no truth."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LOST_STROKES = 0.01
"""A class keeps its largest component only if at most this share of the strokes it hits lies outside of it."""


def keep_largest_component(labels: NDArray[np.uint8], classes: Sequence[int]) -> NDArray[np.uint8]:
    """A copy of a 3-D label map in which each class of `classes` keeps its largest component only.

    Voxels that share a face, an edge or a corner are connected; the rest becomes background.
    """
    out = labels.copy()
    for label in classes:
        components, count = _components(labels == label)
        if count > 1:
            out[(components > 0) & (components != _largest(components))] = 0
    return out


def choose_components(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], classes: Sequence[int]
) -> tuple[int, ...]:
    """Classes of which only the largest component should be kept, from (prediction, scribble) of training cases.

    A structure may come in pieces (two kidneys, many lesions). If so, strokes that the prediction hits lie outside the
    largest piece; if hardly any does, what lies outside is taken for a false positive.
    """
    hit = dict.fromkeys(classes, 0)
    lost = dict.fromkeys(classes, 0)
    for prediction, scribble in pairs:
        for label in classes:
            strokes = (scribble == label) & (prediction == label)
            hit[label] += int(strokes.sum())
            components, count = _components(prediction == label)
            if count > 1:
                lost[label] += int((strokes & (components != _largest(components))).sum())
    return tuple(label for label in classes if hit[label] and lost[label] <= LOST_STROKES * hit[label])


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    return components, int(count)


def _largest(components: NDArray[np.int32]) -> int:
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return int(sizes.argmax())
