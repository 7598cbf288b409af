"""A label brought onto the grid of its image: turned, moved by whole voxels, filled up, or refused."""

from pathlib import Path

import numpy as np
import patients
import pytest

from pclmix.data.grid import Volume, difference, from_lps, from_lps_affine, lps_affine, onto_grid, unplaced
from pclmix.errors import InputError

PATIENT = patients.synthetic()


def volume(array=PATIENT.image, affine=PATIENT.affine, segments=None, name="image"):
    return Volume(array, from_lps_affine(affine), Path(name), None, segments)


def moved(axis, voxels):
    affine = PATIENT.affine
    affine[:3, 3] += voxels * affine[:3, axis]
    return affine


def test_there_and_back_to_lps():
    geometry = from_lps(PATIENT.spacing, PATIENT.direction, PATIENT.origin)
    np.testing.assert_allclose(lps_affine(geometry), PATIENT.affine, atol=1e-12)
    np.testing.assert_allclose(geometry.origin, [31.5, -12.25, 103.0])


def test_a_label_of_the_same_grid_is_left_as_it_is():
    label = volume(PATIENT.label, name="label")
    assert onto_grid(volume(), label) is label


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("turned", [(), (1,), (0, 2)])
def test_axes_are_swapped_and_turned_as_the_geometry_says(order, turned):
    array, affine = PATIENT.label.transpose(order), PATIENT.affine[:, [*order, 3]]
    for axis in turned:
        affine[:3, 3] += (array.shape[axis] - 1) * affine[:3, axis]
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    result = onto_grid(volume(), volume(array, affine, name="label"))
    np.testing.assert_array_equal(result.array, PATIENT.label)
    assert difference(result.geometry, volume().geometry) is None


def test_a_segmentation_of_a_part_is_filled_up():
    part, names = PATIENT.label[3:, 2:14, 1:], {"a": 1}
    affine = PATIENT.affine
    affine[:3, 3] = affine[:3] @ [3, 2, 1, 1]
    np.testing.assert_array_equal(onto_grid(volume(), volume(part, affine, names)).array, PATIENT.label)
    with pytest.raises(InputError, match=r"label: shape \(19, 12, 4\), expected \(22, 18, 5\) as in image"):
        onto_grid(volume(), volume(part, affine, name="label"))


def test_a_segmentation_may_reach_out_of_its_image_where_it_is_empty():
    larger = np.pad(PATIENT.label, ((2, 4), (0, 0), (1, 0)))
    affine = PATIENT.affine
    affine[:3, 3] = affine[:3] @ [-2, 0, -1, 1]
    np.testing.assert_array_equal(onto_grid(volume(), volume(larger, affine, {"a": 1})).array, PATIENT.label)
    larger[0, 0, 0] = 1
    with pytest.raises(InputError, match="label: 1 voxels of segments lie outside image"):
        onto_grid(volume(), volume(larger, affine, {"a": 1}, "label"))


def test_half_a_voxel_is_no_matter_of_whole_voxels():
    with pytest.raises(InputError, match="label: origin"):
        onto_grid(volume(), volume(PATIENT.label, moved(0, 0.6), {"a": 1}, "label"))
    with pytest.raises(InputError, match="label: origin"):
        onto_grid(volume(), volume(PATIENT.label, moved(2, 1), name="label"))


def test_what_a_file_does_not_say_is_its_images():
    nowhere = Volume(PATIENT.label, unplaced(None), Path("label"), None)
    image = volume()
    assert onto_grid(image, nowhere).geometry is image.geometry
    sized = Volume(PATIENT.label, unplaced((2.0, 1.25, 8.0)), Path("label"), None)
    with pytest.raises(InputError, match="label: spacing"):
        onto_grid(volume(), sized)
    with pytest.raises(InputError, match="label: shape"):
        onto_grid(volume(), Volume(PATIENT.label[1:], unplaced(None), Path("label"), None))


def test_a_sheared_grid_is_no_turned_one():
    affine = PATIENT.affine
    affine[:3, 2] = 8 * (PATIENT.direction @ [0.6, 0, 0.8])
    with pytest.raises(InputError, match="label: axis directions"):
        onto_grid(volume(), volume(PATIENT.label, affine, name="label"))
