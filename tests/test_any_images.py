"""From a folder to predictions by the commands of the README: colour pictures, and volumes of two channels."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pclmix.cli import app
from pclmix.data.folder import read_dataset
from pclmix.labels import IGNORE
from pclmix.metrics import dice

QUICK = ("planner.pixels=4096", "planner.batch=4", "planner.depth=4", "network.swin_width=16", "network.embedding=8",
         "optimizer.rate=0.01", "train.statistics_batches=4", "train.validations=1")  # fmt: skip
NOT_PAINTED, ON_BACKGROUND = 0, 9


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def learn_and_predict(root, images, classes, steps):
    """Import, check, train, predict; the folder of predictions."""
    meanings = ("--classes", classes, "--background", ON_BACKGROUND, "--unlabelled", NOT_PAINTED)
    run("import", "folder", images, root / "strokes", root / "data", *meanings)
    run("check", root / "data")
    settings = [part for setting in QUICK for part in ("--set", setting)]
    run("train", root / "data", "--out", root / "run", "--steps", steps, *settings)
    run("predict", root / "run", images, root / "results")
    return root / "results"


def painted(truth, random):
    """Short strokes on each class of a slice, background's with a value of their own, all else not painted."""
    strokes = np.full(truth.shape, NOT_PAINTED, np.uint8)
    for label in np.unique(truth):
        for row, column in random.permutation(np.argwhere(truth == label))[:6]:
            inside = np.zeros(truth.shape, bool)
            inside[row, max(column - 4, 0) : column + 5] = True
            strokes[inside & (truth == label)] = label or ON_BACKGROUND
    return strokes


def blocks(random, size, classes):
    """(H, W) labels: a rectangle of each class but background, each in its own corner."""
    half = size // 2
    labels = np.zeros((size, size), np.uint8)
    corners = random.permutation([(0, 0), (0, half), (half, 0), (half, half)])
    for label, (row, column) in zip(range(1, classes), corners, strict=False):
        height, width = random.integers(half // 2, half - 4, 2)
        labels[row + 2 : row + 2 + height, column + 2 : column + 2 + width] = label
    return labels


@pytest.fixture
def pictures(tmp_path):
    """Ten PNG files in RGB, two structures and background, each of its colour; strokes on all but the last two."""
    random, colours = np.random.default_rng(0), np.array([(60, 60, 60), (200, 80, 60), (70, 90, 210)])
    (tmp_path / "images").mkdir()
    (tmp_path / "strokes").mkdir()
    truths = {}
    for index in range(10):
        truth = truths[f"p{index}"] = blocks(random, 64, 3)
        noisy = colours[truth] + random.normal(0, 15, (64, 64, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "images" / f"p{index}.png")
        if index < 8:
            Image.fromarray(painted(truth, random)).save(tmp_path / "strokes" / f"p{index}.png")
    return truths


def test_colour_pictures_of_three_classes(pictures, tmp_path):
    results = learn_and_predict(tmp_path, tmp_path / "images", "red=1,blue=2", steps=40)
    dataset = read_dataset(tmp_path / "data")
    assert dataset.channels == ("R", "G", "B") and list(dataset.classes) == ["background", "red", "blue"]
    assert sorted(path.name for path in results.glob("*.png")) == sorted(f"{case}.png" for case in pictures)
    found = {case: np.asarray(Image.open(results / f"{case}.png")) for case in pictures}
    for case, truth in pictures.items():
        assert found[case].shape == truth.shape and found[case].max() <= 2
    unseen = [dice(found[case] == label, pictures[case] == label) for case in ("p8", "p9") for label in (1, 2)]
    assert np.mean(unseen) > 0.8


@pytest.fixture
def volumes(tmp_path):
    """Six volumes of two channels: of four structures the first shows two alone, and the second the others."""
    random = np.random.default_rng(1)
    shown = np.array([(0, 3, -3, 0, 0), (0, 0, 0, 3, -3)])
    affine = np.diag([1.5, 1.5, 6.0, 1.0])
    (tmp_path / "images").mkdir()
    (tmp_path / "strokes").mkdir()
    truths = {}
    for index in range(6):
        truth = truths[f"v{index}"] = np.stack([blocks(random, 48, 5)] * 4, axis=2)
        for channel in range(2):
            image = (shown[channel][truth] + random.normal(0, 0.5, truth.shape)).astype(np.float32)
            nib.save(nib.Nifti1Image(image, affine), tmp_path / "images" / f"v{index}_{channel:04d}.nii.gz")
        strokes = np.stack([painted(truth[..., place], random) for place in range(4)], axis=2)
        if index < 5:
            nib.save(nib.Nifti1Image(strokes, affine), tmp_path / "strokes" / f"v{index}.nii.gz")
    return truths


def test_volumes_of_two_channels_and_five_classes(volumes, tmp_path):
    results = learn_and_predict(tmp_path, tmp_path / "images", "a=1,b=2,c=3,d=4", steps=40)
    dataset = read_dataset(tmp_path / "data")
    assert len(dataset.channels) == 2 and len(dataset.classes) == 5 and IGNORE not in dataset.classes.values()
    for case, truth in volumes.items():
        label, image = nib.load(results / f"{case}.nii.gz"), nib.load(tmp_path / "images" / f"{case}_0000.nii.gz")
        assert label.shape == truth.shape and label.header.get_zooms() == image.header.get_zooms()
        np.testing.assert_array_equal(label.affine, image.affine)
        assert set(np.unique(label.dataobj)) <= set(range(5))
    found = np.asarray(nib.load(results / "v5.nii.gz").dataobj)
    assert np.mean([dice(found == label, volumes["v5"] == label) for label in range(1, 5)]) > 0.8
