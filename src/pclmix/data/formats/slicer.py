"""3D Slicer's segmentations (.seg.nrrd), by slicerio: named segments, in layers where Slicer lets them overlap."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicerio  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pclmix.data.formats.reading import reading
from pclmix.data.formats.segments import merged, numbered, require_names_once
from pclmix.data.grid import Volume, from_lps_affine, lps_affine
from pclmix.errors import InputError


def read(path: Path, *, label: bool) -> Volume:
    """Read a segmentation as a label. Raises `InputError` where segments overlap, or where an image is wanted."""
    with reading(path, "a segmentation of 3D Slicer's"):
        if not label:
            raise InputError(f"{path}: a segmentation, expected an image")
        file = slicerio.read_segmentation(str(path))
        layers = np.asarray(file["voxels"])
        layers = layers[None] if layers.ndim == 3 else layers
        found = file["segments"]
        names = [str(segment.get("name", segment["id"])) for segment in found]
        require_names_once(names, path)
        values = numbered([int(segment["labelValue"]) for segment in found])
        masks = (layers[segment.get("layer", 0)] == segment["labelValue"] for segment in found)
        array = merged(layers.shape[1:], zip(names, values, masks, strict=True), path)
        geometry = from_lps_affine(np.asarray(file["ijkToLPS"]))
    return Volume(array, geometry, path, None, dict(zip(names, values, strict=True)))


def channels(path: Path) -> int:
    """A segmentation is no image, and `read` says so."""
    return 1


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write a label as a segmentation whose segments are the classes above 0."""
    segments = [
        {"id": f"Segment_{value}", "name": name, "labelValue": value, "layer": 0}
        for name, value in classes.items()
        if value > 0
    ]
    content = {"voxels": array, "ijkToLPS": lps_affine(like.geometry), "segments": segments}
    slicerio.write_segmentation(str(path), content | {"containedRepresentationNames": ["Binary labelmap"]})
