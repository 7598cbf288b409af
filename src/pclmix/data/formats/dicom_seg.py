"""DICOM SEG, by highdicom: named segments in, the classes of a prediction out."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from pclmix import __version__
from pclmix.data.formats.enhanced import column_first, highdicom_affine
from pclmix.data.formats.reading import reading
from pclmix.data.formats.segments import merged, require_names_once
from pclmix.data.grid import Volume
from pclmix.errors import InputError

warnings.filterwarnings("ignore", module="highdicom")  # it objects to names of patients, which are not ours to mend


def read(path: Path) -> Volume:
    """Read a segmentation as a label, in its own grid. Raises `InputError` for overlapping segments or fractions."""
    with reading(path, "DICOM SEG"):
        file = hd.seg.segread(path)
        if file.segmentation_type == hd.seg.SegmentationTypeValues.FRACTIONAL:
            raise InputError(f"{path}: segments of fractions, expected a binary segmentation")
        numbers = list(file.segment_numbers)
        names = [str(file.get_segment_description(number).segment_label) for number in numbers]
        require_names_once(names, path)
        whole = file.get_volume(segment_numbers=numbers[:1])
        shape = whole.spatial_shape
        array = merged(shape, zip(names, numbers, _masks(file, numbers), strict=True), path)
    return Volume(*column_first(array, whole.affine), path, None, dict(zip(names, numbers, strict=True)))


def _masks(file: Any, numbers: list[int]) -> Iterator[NDArray[np.bool_]]:
    """One segment after the other, so that a large volume is not held once a segment."""
    for number in numbers:
        yield file.get_volume(segment_numbers=[number]).array[..., 0] > 0


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write the classes above 0 as segments that refer to the images of `like`, whose `header` is their files."""
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in like.header]
    pixels = np.ascontiguousarray(array.transpose(2, 1, 0)).astype(np.uint8)
    algorithm = hd.AlgorithmIdentificationSequence("PCLMix", codes.DCM.ArtificialIntelligence, __version__)
    tissue = codes.SCT.Tissue  # what a class is in the terms of SNOMED is not known; 3D Slicer says the same then
    segments = [
        hd.seg.SegmentDescription(
            segment_number=value,
            segment_label=name,
            segmented_property_category=tissue,
            segmented_property_type=tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for name, value in sorted(classes.items(), key=lambda item: item[1])
        if value > 0
    ]
    has_place = "FrameOfReferenceUID" in sources[0] and (len(sources) == 1 and "NumberOfFrames" in sources[0])
    file = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=_placed(pixels, like, sources[0]) if has_place else pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=1000,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="PCLMix",
        manufacturer_model_name="PCLMix",
        software_versions=__version__,
        device_serial_number="0",
        omit_empty_frames=False,
    )
    file.save_as(path)


def _placed(pixels: NDArray[np.uint8], like: Volume, source: Any) -> Any:
    """The frames of one file lie in any order, so the array goes out with its own geometry."""
    return hd.Volume(
        pixels, highdicom_affine(like.geometry), "PATIENT", frame_of_reference_uid=source.FrameOfReferenceUID
    )
