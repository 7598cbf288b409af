"""examples/predict_onnx.py: a page for onnxruntime, nibabel and NumPy that gives the labels of `pclmix predict`."""

import ast
import runpy
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.nn import functional

from pclmix.export.onnx_file import write_onnx
from pclmix.infer import PredictOptions, predict_files
from pclmix.postprocess import keep_largest_components

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict_onnx.py"


@pytest.fixture(scope="module")
def example():
    """Its functions by name."""
    return runpy.run_path(str(EXAMPLE))


def test_it_is_a_page_and_imports_three_libraries():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"nibabel", "numpy", "onnxruntime"}


@pytest.mark.parametrize("size", [(20, 40), (41, 17), (5, 64), (1, 33)])
@pytest.mark.parametrize("antialias", [True, False])
def test_it_resamples_as_we_do(example, size, antialias):
    images = np.random.default_rng(0).normal(size=(2, 3, 37, 31)).astype(np.float32)
    expected = functional.interpolate(
        torch.from_numpy(images), size, mode="bilinear", align_corners=False, antialias=antialias
    )
    np.testing.assert_allclose(example["resample"](images, size, antialias), expected.numpy(), atol=3e-5)


@pytest.mark.parametrize("seed", range(3))
def test_its_largest_pieces_are_ours(example, seed):
    mask = np.random.default_rng(seed).random((4, 17, 15)) < 0.12
    kept = keep_largest_components(mask.astype(np.uint8), ((1,),)) > 0
    np.testing.assert_array_equal(example["largest_pieces"](mask), kept)
    assert not example["largest_pieces"](np.zeros((2, 3, 4), bool)).any()


def test_its_labels_are_those_of_predict(model, images, tmp_path, in_fp32, monkeypatch, capsys):
    list(predict_files(model, [images], tmp_path / "ours", PredictOptions()))
    exported = write_onnx(model, tmp_path / "m.onnx")
    names = sorted(path.name for path in (tmp_path / "ours").glob("*.nii.gz"))
    cases = [",".join(str(images / name.replace(".nii", f"_000{channel}.nii")) for channel in (0, 1)) for name in names]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(exported), str(tmp_path / "theirs"), *cases])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "theirs" / name) for name in names]
    for name in names:
        ours, theirs = nib.load(tmp_path / "ours" / name), nib.load(tmp_path / "theirs" / name)
        np.testing.assert_array_equal(np.asarray(theirs.dataobj), np.asarray(ours.dataobj))
        assert ours.header == theirs.header
