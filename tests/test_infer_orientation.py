"""Images stored otherwise than those trained on: told, and with --orient turned for the network."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from pclmix import infer
from pclmix.config import Plan
from pclmix.infer import PredictOptions, predict_files

LPS = np.diag([-1.5, -1.5, 8.0, 1.0])
ALONG = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
OBLIQUE = np.array([[0.5**0.5, -(0.5**0.5), 0, 0], [0.5**0.5, 0.5**0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ LPS


class LowerRight(nn.Module):
    """Finds what is bright, and is sure of it in the lower right alone; calls it 2 in the lower half, and else 1."""

    def forward(self, x):
        rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
        lower = (rows >= x.shape[2] / 2).expand(x.shape[2:])
        sure = torch.where(lower & (columns >= x.shape[3] / 2), 20.0, 0.4)
        bright = (x[:, 0] > 0) * sure
        return torch.stack([torch.full_like(bright, 0.1), bright * ~lower, bright * lower], dim=1)


@pytest.fixture
def trained(monkeypatch):
    def install(directions=ALONG):
        plan = Plan(
            channels=("MR",),
            classes={"background": 0, "upper": 1, "lower": 2},
            spacing=(1.5, 1.5),
            crop=(16, 16),
            batch=2,
            depth=2,
            intensity=("zscore",),
            mirror=False,
            directions=directions,
        )
        monkeypatch.setattr(infer, "load_model", lambda model: (LowerRight(), plan))
        monkeypatch.setattr(infer, "for_inference", lambda net, device: net)

    install()
    return install


def heart():
    """Bright to the lower right, across the middle row, more of it below; another extent along each axis."""
    array = np.zeros((24, 20, 5), np.float32)
    array[11:20, 12:18, 1:4] = 100
    return array


def predicted(tmp_path, image, **options):
    nib.save(image, tmp_path / "a.nii.gz")
    told = []
    inputs = [tmp_path / "a.nii.gz"]
    list(predict_files("stub", inputs, tmp_path / "out", PredictOptions(**options), overwrite=True, warn=told.append))
    label = nib.load(tmp_path / "out" / "a.nii.gz")
    return nib.Nifti1Image(np.asarray(label.dataobj), label.affine), told  # not the file, which the next replaces


def stored_in_every_way(image):
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        yield image.as_reoriented(list(zip(order, flips, strict=True)))


def test_one_image_has_the_same_labels_however_it_is_stored(trained, tmp_path):
    image = nib.Nifti1Image(heart(), LPS)
    expected, told = predicted(tmp_path, image)
    assert not told and set(np.unique(expected.dataobj)) == {0, 1, 2}
    otherwise = 0
    for stored in stored_in_every_way(image):
        label, told = predicted(tmp_path, stored, orient=True, save_probabilities=True, page=False)
        assert not told and np.allclose(label.affine, stored.affine)
        back = nib.orientations.ornt_transform(nib.io_orientation(label.affine), nib.io_orientation(expected.affine))
        np.testing.assert_array_equal(np.asarray(label.as_reoriented(back).dataobj), np.asarray(expected.dataobj))
        maps = np.asarray(nib.load(tmp_path / "out" / "a_probabilities.nii.gz").dataobj)
        np.testing.assert_array_equal(maps.argmax(axis=-1), np.asarray(label.dataobj))
        _, told = predicted(tmp_path, stored, page=False)
        otherwise += len(told)
    assert otherwise == 42  # of 48 ways 6 leave rows and columns as they are: the slice axis anywhere, either way round


def test_without_being_told_to_an_image_is_taken_as_stored_and_that_is_said(trained, tmp_path):
    image = nib.Nifti1Image(heart()[::-1], np.diag([1.5, -1.5, 8.0, 1.0]))
    _, (line,) = predicted(tmp_path, image)
    assert line.startswith(
        f"{tmp_path / 'a.nii.gz'}: rows and columns of its slices run to RP, expected LP as in train"
    )
    assert "--orient" in line
    trained(directions=())
    assert predicted(tmp_path, image)[1] == []


def test_where_the_header_does_not_tell_the_surest_way_is_taken(trained, tmp_path):
    expected = np.asarray(predicted(tmp_path, nib.Nifti1Image(heart(), OBLIQUE), orient=True)[0].dataobj)
    np.testing.assert_array_equal(expected > 0, heart() > 0)
    flipped = nib.Nifti1Image(heart()[:, ::-1], OBLIQUE)
    label, (line,) = predicted(tmp_path, flipped)
    assert "the network is unsure of it" in line and "--orient" in line
    label, told = predicted(tmp_path, flipped, orient=True)
    assert not told
    np.testing.assert_array_equal(np.asarray(label.dataobj)[:, ::-1], expected)


def test_a_way_in_which_nothing_is_found_is_not_the_surest(trained, tmp_path):
    label, _ = predicted(tmp_path, nib.Nifti1Image(np.zeros((24, 20, 5), np.float32), OBLIQUE), orient=True)
    assert not np.asarray(label.dataobj).any()
