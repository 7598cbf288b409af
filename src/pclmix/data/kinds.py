"""Kinds of slices: how a slice is annotated, and so what may be concluded from where nothing is drawn.

Dense: all or nearly all of it. Point: small blobs alone; they say where a class is, never where it is not. Scribble:
anything between. Unlabelled: not a pixel, so nobody looked. One data set may hold all four.
"""

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
"""A blob is a point up to this share of the slice's shorter side, rows and columns alike: a click or a dab of a brush.
A share, not mm, so that it holds for microscopes too. In ACDC's and MSCMR's 1,894 slices the longest stroke of every
slice is six times as long and more."""

POINT_PIXELS = 3
"""And up to this many pixels in any slice, so that a click is one on coarse pixels as well."""


def kind_of(strokes: NDArray[np.uint8]) -> SliceKind:
    """The kind of a slice (H, W), 0..K-1 or IGNORE."""
    annotated = np.count_nonzero(strokes != IGNORE)
    if annotated == 0:
        return "unlabelled"
    if annotated >= DENSE_SHARE * strokes.size:
        return "dense"
    longest = max(POINT_PIXELS, POINT_SHARE * min(strokes.shape))
    counts = np.bincount(strokes.ravel(), minlength=256)[:IGNORE]
    drawn_most_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]  # the likeliest stroke
    for label in drawn_most_first:
        blobs, _ = ndimage.label(strokes == label, structure=np.ones((3, 3)))
        if any(side.stop - side.start > longest for blob in ndimage.find_objects(blobs) for side in blob):
            return "scribble"
    return "point"
