"""How slices lie, what turns them to lie as others, and the way back."""

import nibabel as nib
import numpy as np
import pytest

from pclmix.data.orientation import EVERY, STORED, by_header, common, directions, letters, turned, turned_back
from pclmix.data.volume import read_image

LPS = np.diag([-1.5, -2.0, 8.0, 1.0])


def write(path, array, affine):
    nib.save(nib.Nifti1Image(array, affine), path)
    return read_image(path)


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)


def test_an_image_stored_in_any_way_is_brought_to_lie_as_those_trained_on(tmp_path, array):
    """nibabel stores one image in all 48 ways, the slice axis first, second or last among them."""
    image = nib.Nifti1Image(array, LPS)
    trained = directions(write(tmp_path / "trained.nii.gz", array, LPS).geometry, 2)
    assert letters(trained) == "LP"
    ways = set()
    for order in np.ndindex(3, 3, 3):
        if len(set(order)) < 3:
            continue
        for flips in np.ndindex(2, 2, 2):
            stored = image.as_reoriented([[a, 1 - 2 * f] for a, f in zip(order, flips, strict=True)])
            nib.save(stored, tmp_path / "stored.nii.gz")
            volume = read_image(tmp_path / "stored.nii.gz")
            axis = int(np.argmax(volume.geometry.spacing))
            way = by_header(directions(volume.geometry, axis), trained)
            ways.add(way)
            laid = turned(volume, axis, way)
            slices = np.moveaxis(laid.array, axis, 2)
            expected = array if volume.geometry.direction[2, axis] > 0 else array[:, :, ::-1]
            np.testing.assert_allclose(slices, expected)
            assert np.delete(laid.geometry.spacing, axis) == pytest.approx((1.5, 2))
            np.testing.assert_array_equal(turned_back(laid.array, axis, way), volume.array)
    assert ways == set(EVERY)


@pytest.mark.parametrize("way", EVERY)
@pytest.mark.parametrize("axis", range(3))
def test_what_was_turned_comes_back_with_its_classes_last(tmp_path, array, way, axis):
    volume = write(tmp_path / "a.nii.gz", array, LPS)
    maps = np.stack([array, 2 * array], axis=-1)
    laid = turned(volume, axis, way).array
    np.testing.assert_array_equal(turned_back(np.stack([laid, 2 * laid], axis=-1), axis, way), maps)


def test_oblique_slices_are_told_within_41_degrees_and_not_beyond(tmp_path, array):
    for degrees, told in ((0, True), (40, True), (43, False), (47, False)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        affine = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ LPS
        own = directions(write(tmp_path / "a.nii.gz", array, affine).geometry, 2)
        assert by_header(own, ((-1, 0, 0), (0, -1, 0))) == (STORED if told else None)
    assert by_header((), ((1, 0, 0), (0, 1, 0))) is None and by_header(own, ()) is None


def test_a_file_without_directions_says_nothing(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    assert directions(read_image(tmp_path / "a.png").geometry, 2) == ()


def test_what_images_have_in_common_is_their_mean_or_nothing():
    near, also, far = (
        ((1, 0, 0), (0, 1, 0)),
        ((0.8, 0.6, 0), (-0.6, 0.8, 0)),
        ((-1, 0, 0), (0, 1, 0)),
    )
    mean = common([near, also])
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(mean[0], np.array([0.9, 0.3, 0]) / np.hypot(0.9, 0.3), atol=1e-3)
    assert common([near, near, far]) == () and common([near, ()]) == () and common([]) == ()
