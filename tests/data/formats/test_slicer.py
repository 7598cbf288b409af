"""3D Slicer's segmentations: names, layers, overlaps, and the part of an image that Slicer saves."""

import numpy as np
import patients
import pytest

from pclmix.data.grid import onto_grid
from pclmix.data.volume import read_image, read_label
from pclmix.errors import InputError

PATIENT = patients.synthetic()


def test_names_and_values(tmp_path):
    label = read_label(patients.slicer(tmp_path / "a.seg.nrrd", PATIENT, PATIENT.label))
    np.testing.assert_array_equal(label.array, PATIENT.label)
    assert label.segments == {"RV": 1, "LV": 2}


def test_layers_without_overlap_are_one_label(tmp_path):
    """Each segment is 1 in its own layer, so they are numbered in their order."""
    layers = [(PATIENT.label == value).astype(np.uint8) for value in (1, 2)]
    label = read_label(patients.slicer(tmp_path / "a.seg.nrrd", PATIENT, None, layers=layers))
    np.testing.assert_array_equal(label.array, PATIENT.label)
    assert label.segments == {"RV": 1, "LV": 2}


def test_segments_that_overlap(tmp_path):
    layers = [(PATIENT.label == value).astype(np.uint8) for value in (1, 2)]
    layers[0][12:14, 2:5, 2] = 1
    path = patients.slicer(tmp_path / "a.seg.nrrd", PATIENT, None, layers=layers)
    with pytest.raises(InputError, match="a.seg.nrrd: segments RV and LV share 6 voxels, expected no overlap"):
        read_label(path)


def test_a_part_of_the_image(tmp_path):
    """Slicer saves the box round the segments."""
    image = read_image(patients.itk(tmp_path / "a.nrrd", PATIENT, PATIENT.image))
    origin = tuple(PATIENT.affine[:3] @ [3, 2, 1, 1])
    part = patients.Patient(PATIENT.image, PATIENT.label, PATIENT.spacing, PATIENT.direction, origin)
    path = patients.slicer(tmp_path / "a.seg.nrrd", part, PATIENT.label[3:20, 2:12, 1:])
    np.testing.assert_array_equal(onto_grid(image, read_label(path)).array, PATIENT.label)


def test_what_is_refused(tmp_path):
    path = patients.slicer(tmp_path / "a.seg.nrrd", PATIENT, PATIENT.label)
    with pytest.raises(InputError, match="a.seg.nrrd: a segmentation, expected an image"):
        read_image(path)
    cut = path.read_bytes()
    path.write_bytes(cut[: len(cut) - 40])
    with pytest.raises(InputError, match="a.seg.nrrd: not a readable image"):
        read_label(path)
