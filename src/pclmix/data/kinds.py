"""Kinds of slices: how a slice is annotated, and so what may be concluded from where nothing is drawn.

Dense: all or nearly all of it. Point: small blobs alone; they say where a class is, never where it is not. Scribble:
anything between. Unlabelled: not a pixel, so nobody looked. One data set may hold all four.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pclmix.labels import IGNORE

SliceKind = Literal["dense", "scribble", "point", "unlabelled"]
KINDS: tuple[SliceKind, ...] = ("dense", "scribble", "point", "unlabelled")

DENSE_SHARE = 0.95
"""A slice counts as dense from this share of annotated pixels on, since many leave a margin or a doubtful rim out."""

POINT_SHARE = 0.02
"""A blob is a point if it is no longer, along rows and along columns, than this share of the slice's shorter side,
rounded up, and a pixel: a click or a dab of a brush. A share, not mm, so that it holds for microscopes too. In ACDC and
MSCMR the longest stroke of each of the 1,894 slices is at least four times as long."""


def kind_of(strokes: NDArray[np.uint8]) -> SliceKind:
    """The kind of a slice (H, W), 0..K-1 or IGNORE."""
    annotated = np.count_nonzero(strokes != IGNORE)
    if annotated == 0:
        return "unlabelled"
    if annotated >= DENSE_SHARE * strokes.size:
        return "dense"
    longest = math.ceil(POINT_SHARE * min(strokes.shape)) + 1
    counts = np.bincount(strokes.ravel(), minlength=256)[:IGNORE]
    drawn_most_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]  # the likeliest stroke
    for label in drawn_most_first:
        blobs, _ = ndimage.label(strokes == label, structure=np.ones((3, 3)))
        if any(side.stop - side.start > longest for blob in ndimage.find_objects(blobs) for side in blob):
            return "scribble"
    return "point"
