"""An ONNX file says what it is, carries its plan, takes any size, and is refused where it is wrong."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from pclmix.config import Plan, tree_from_toml
from pclmix.errors import InputError
from pclmix.export import onnx_file
from pclmix.export.onnx_file import write_onnx
from pclmix.infer import predict_slices
from pclmix.model_file import load_model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return write_onnx(model, tmp_path_factory.mktemp("onnx") / "m.onnx")


def test_inputs_outputs_and_plan_are_named(exported, plan):
    session = onnxruntime.InferenceSession(exported)
    (image,), (found,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 2, "height", "width"])
    assert (found.name, found.shape) == ("probabilities", ["batch", 3, "height", "width"])
    meta = session.get_modelmeta()
    assert meta.producer_name == "pclmix"
    assert meta.custom_metadata_map["pclmix_averaged"] == "true"
    assert tree_from_toml(Plan, meta.custom_metadata_map["pclmix_plan"], "m.onnx") == plan


def test_all_of_it_is_one_file(exported):
    assert [path.name for path in exported.parent.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("size", [(1, 5, 3), (4, 16, 40)])
def test_probabilities_are_those_of_predict(exported, model, plan, size):
    image = torch.randn(size[0], 2, *size[1:])
    (found,) = onnxruntime.InferenceSession(exported).run(None, {"image": image.numpy()})
    expected = predict_slices(load_model(model)[0], image.numpy(), torch.device("cpu"), plan).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_that_does_not_agree_is_not_handed_over(model, tmp_path, monkeypatch):
    make = onnx_file._in_onnxruntime
    monkeypatch.setattr(onnx_file, "_in_onnxruntime", lambda path: lambda image: make(path)(image) + 0.01)
    with pytest.raises(InputError, match=r"m.onnx: probabilities differ by 0.01"):
        write_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_left_alone_without_permission(model, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    with pytest.raises(InputError, match=r"m.onnx: the file exists"):
        write_onnx(model, out)
    assert out.read_text() == "mine"


def test_another_suffix_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"m.pt: found .pt, expected a name that ends in .onnx"):
        write_onnx(model, tmp_path / "m.pt")


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named_with_its_remedy(model, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"^{library}: not installed, .*pip install 'pclmix\[export\]'"):
        write_onnx(model, tmp_path / "m.onnx")
