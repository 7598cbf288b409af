"""`pclmix.load`, `Model.predict` and `pclmix.train`: arrays in, labels out, one name for module and front."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pclmix
from pclmix.config import Plan
from pclmix.data.volume import read_image
from pclmix.errors import InputError
from pclmix.infer import PredictOptions, predict_files
from pclmix.model_file import save_model
from pclmix.network.dual import segmentation_net


def saved(folder, channels=1):
    plan = Plan(
        channels=tuple(f"mr{index}" for index in range(channels)),
        classes={"background": 0, "a": 1, "b": 2},
        spacing=(1.7, 1.3),
        crop=(32, 32),
        batch=2,
        depth=2,
        intensity=("zscore",) * channels,
        largest_component=((1, 2),),
    )
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", segmentation_net(plan), plan)
    return folder


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_a_model_knows_its_plan_and_classes(tmp_path):
    model = pclmix.load(str(saved(tmp_path)))
    assert isinstance(model, pclmix.Model)
    assert model.classes == {"background": 0, "a": 1, "b": 2} and model.plan.spacing == (1.7, 1.3)
    with pytest.raises(InputError, match="no such model"):
        pclmix.load("no-such-model")


def test_an_array_gives_the_labels_of_its_file(tmp_path, phantom):
    run = saved(tmp_path)
    source = sorted((phantom / "imagesTr").iterdir())[0]
    volume = read_image(source)
    (path,) = predict_files(run, [source], tmp_path / "out", PredictOptions())
    array = np.moveaxis(volume.array, 2, 0)
    labels = pclmix.load(run).predict(array, (8.0, 1.5, 1.5)).labels
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(np.moveaxis(labels, 0, 2), read_image(path).array)


def test_slices_come_first_whatever_their_distance(tmp_path):
    model, array = pclmix.load(saved(tmp_path)), noise(4, 21, 25)

    def probabilities(spacing):
        return model.predict(array, spacing, probabilities=True).probabilities

    expected = probabilities((9.0, 2.0, 1.0))
    for spacing in ((0.1, 2.0, 1.0), (2.0, 1.0)):
        np.testing.assert_array_equal(probabilities(spacing), expected)
    assert np.abs(probabilities((9.0, 1.0, 2.0)) - expected).max() > 1e-3


def test_shapes_of_what_is_asked_for(tmp_path):
    model = pclmix.load(saved(tmp_path))
    found = model.predict(noise(4, 21, 25), (2, 1), probabilities=True, uncertainty=True)
    assert (found.labels.shape, found.probabilities.shape) == ((4, 21, 25), (4, 21, 25, 3))
    assert found.uncertainty.shape == (4, 21, 25)
    flat = model.predict(noise(21, 25), (2, 1), probabilities=True, uncertainty=True)
    assert (flat.labels.shape, flat.probabilities.shape, flat.uncertainty.shape) == ((21, 25), (21, 25, 3), (21, 25))
    plain = model.predict(noise(21, 25).tolist(), (2, 1))
    np.testing.assert_array_equal(plain.labels, flat.labels)
    assert plain.probabilities is None and plain.uncertainty is None


def test_channels_come_before_slices(tmp_path):
    model, array = pclmix.load(saved(tmp_path, channels=2)), noise(2, 3, 21, 25)
    given, swapped = (model.predict(channels, (1, 1), probabilities=True) for channels in (array, array[::-1]))
    assert given.labels.shape == (3, 21, 25)
    assert np.abs(given.probabilities - swapped.probabilities).max() > 1e-3


@pytest.mark.parametrize(
    ("array", "spacing", "message"),
    [
        (noise(2, 3, 9, 9), (1, 1), r"array: shape \(2, 3, 9, 9\) has 2 channel\(s\), expected 1"),
        (noise(9), (1, 1), r"array: float64 of shape \(9,\), expected numbers"),
        (noise(0, 9, 9), (1, 1), r"shape \(0, 9, 9\), expected"),
        (np.full((9, 9), "x"), (1, 1), "expected numbers"),
        (np.full((9, 9), np.nan), (1, 1), "81 values are NaN or infinite"),
        (noise(9, 9), (1,), r"spacing: found \(1,\), expected"),
        (noise(9, 9), (1, 0), r"spacing: found \(1, 0\), expected"),
        (noise(9, 9), 1.5, r"spacing: found 1.5, expected \(slice, row, column\) or \(row, column\), mm"),
        (noise(9, 9), None, "spacing: found None, expected"),
        (noise(9, 9), "12", "spacing: found '12', expected"),
        (noise(9, 9), ("a", 1), r"spacing: found \('a', 1\), expected"),
        (noise(9, 9), (None, 1), r"spacing: found \(None, 1\), expected"),
        (noise(9, 9), np.ones((3, 3)), "spacing: found array.*expected"),
        ([[1, 2], [3]], (1, 1), "array: no array .*inhomogeneous.*, expected numbers, "),
        (torch.zeros(9, 9, requires_grad=True), (1, 1), "array: no array .*requires grad.*, expected numbers, "),
        (None, (1, 1), "array: object of shape .*, expected numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, array, spacing, message):
    with pytest.raises(InputError, match=message):
        pclmix.load(saved(tmp_path)).predict(array, spacing)


def test_a_picture_of_pillows_gives_the_labels_of_its_file(tmp_path):
    """As docs/deploy.md has it: turned, and the labels back."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (21, 25)).astype(np.uint8)).save(tmp_path / "a.png")
    (path,) = predict_files(saved(tmp_path), [tmp_path / "a.png"], tmp_path / "out", PredictOptions())
    labels = pclmix.load(tmp_path).predict(np.asarray(Image.open(tmp_path / "a.png")).T, (1, 1)).labels.T
    np.testing.assert_array_equal(labels, np.asarray(Image.open(path)))


@pytest.mark.parametrize("model", [None, 3, ["acdc-scribble"]])
def test_a_model_is_a_name_or_a_path(model):
    with pytest.raises(InputError, match="^model: found .*, expected a run folder, a model file or the name of"):
        pclmix.load(model)


def test_training_gives_a_model(phantom, tmp_path):
    small = ("planner.pixels=2304", "planner.batch=4", "planner.depth=4", "network.swin_width=16",
             "network.embedding=8", "train.statistics_batches=2", "train.validations=1")  # fmt: skip
    model = pclmix.train(str(phantom), str(tmp_path / "run"), overrides=small, steps=1, val_cases=["heart002"], seed=4)
    assert model.classes["LV"] == 3 and model.plan.depth == 4
    assert (tmp_path / "run" / "validation.json").exists()
    with pytest.raises(InputError, match="not empty"):
        pclmix.train(phantom, tmp_path / "run", steps=1)
    with pytest.raises(InputError, match="steps and minutes: found both"):
        pclmix.train(phantom, tmp_path / "other", steps=1, minutes=1)


@pytest.mark.parametrize(
    "code",
    [
        "import pclmix; front = pclmix.train; from pclmix.train import train",
        "import pclmix.train; front = pclmix.train; from pclmix.train import train",
        "from pclmix.train import train; from pclmix import train as front",
        "import pclmix.train as front; from pclmix.train import train",
    ],
)
def test_train_is_module_and_front_in_whichever_order_it_is_imported(code):
    check = f"{code}\nimport types; print(callable(front), isinstance(train, types.FunctionType), front.train is train)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stdout == "True True True\n", done.stderr


def test_an_unknown_name_is_no_attribute():
    assert not hasattr(pclmix, "lode")
    assert pclmix.__version__


def test_type_checkers_of_users_may_read_our_types():
    assert (Path(pclmix.__file__).parent / "py.typed").is_file()
