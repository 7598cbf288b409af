"""The shipped model leaves the house whole: five real volumes, the same labels by every way out."""

import runpy
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import torch
from running_bundles import require_same, run_bundle

import pclmix
from pclmix.data.volume import read_image
from pclmix.export.bundle import write_bundle
from pclmix.export.onnx_file import write_onnx
from pclmix.infer import PredictOptions, predict_files, predict_slices, preprocess_image
from pclmix.model_file import load_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict_onnx.py"
MODEL = "acdc-scribble"

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def five(real_data, tmp_path_factory):
    """A folder of five volumes."""
    folder = tmp_path_factory.mktemp("five")
    for number in range(21, 26):
        source = real_data / "acdc" / "training" / f"patient{number:03d}" / f"patient{number:03d}_frame01.nii.gz"
        (folder / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return write_onnx(MODEL, tmp_path_factory.mktemp("onnx") / "m.onnx")


def predicted(five, out):
    list(predict_files(MODEL, [five], out, PredictOptions(page=False)))
    return out


def test_onnx_gives_the_probabilities_of_pytorch(five, exported):
    session, (net, plan) = onnxruntime.InferenceSession(exported), load_model(MODEL)
    for path in sorted(five.iterdir()):
        slices = torch.as_tensor(preprocess_image([read_image(path)], plan), dtype=torch.float32)
        (found,) = session.run(None, {"image": slices.numpy()})
        expected = predict_slices(net.eval(), slices.numpy(), torch.device("cpu"), plan).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_example_gives_the_labels_of_predict(five, exported, tmp_path, in_fp32, monkeypatch):
    files = [str(path) for path in sorted(five.iterdir())]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(exported), str(tmp_path / "theirs"), *files])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    list(predict_files(MODEL, [five], ours, PredictOptions(page=False, save_probabilities=True)))
    assert sorted(path.name for path in theirs.iterdir()) == sorted(path.name for path in five.iterdir())
    for path in theirs.iterdir():
        found, expected = nib.load(path), nib.load(ours / path.name)
        assert found.header == expected.header
        differ = np.asarray(found.dataobj) != np.asarray(expected.dataobj)
        # Rounding may decide a voxel whose two likeliest classes are as likely to the sixth digit, and no other one.
        likeliest = np.sort(nib.load(ours / f"{path.name.removesuffix('.nii.gz')}_probabilities.nii.gz").dataobj, -1)
        assert (likeliest[..., -1] - likeliest[..., -2])[differ].max(initial=0) < 1e-5


def test_the_bundle_gives_the_labels_of_predict(five, tmp_path):
    result = run_bundle(write_bundle(MODEL, tmp_path / "bundle"), five, tmp_path / "theirs")
    assert result.returncode == 0, result.stderr
    require_same(tmp_path / "theirs", predicted(five, tmp_path / "ours"))


def test_arrays_give_the_labels_of_files(five, tmp_path):
    model, ours = pclmix.load(MODEL), predicted(five, tmp_path / "ours")
    for path in sorted(five.iterdir()):
        volume = read_image(path)
        row, column, between = volume.geometry.spacing
        labels = model.predict(np.moveaxis(volume.array, 2, 0), (between, row, column)).labels
        np.testing.assert_array_equal(np.moveaxis(labels, 0, 2), read_image(ours / path.name).array)
