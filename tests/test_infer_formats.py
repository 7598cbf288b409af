"""Predictions come back in the format and grid of their image, the same for one patient in every format."""

import nibabel as nib
import numpy as np
import patients
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from pclmix import infer
from pclmix.cli import app
from pclmix.config import Plan
from pclmix.data.grid import difference, onto_grid
from pclmix.data.volume import read_image, read_label
from pclmix.errors import InputError
from pclmix.evaluate import evaluate_folders
from pclmix.infer import PredictOptions, predict_files
from pclmix.overview.thumbnails import save_thumbnails

PATIENT = patients.synthetic()
INPUTS = {
    "p1.nii.gz": (patients.nifti, "p1.nii.gz"),
    "p1.nrrd": (patients.itk, "p1.nrrd"),
    "p1.nhdr": (patients.itk, "p1.nrrd"),
    "p1.mha": (patients.itk, "p1.mha"),
    "p1.mhd": (patients.itk, "p1.mha"),
    "p1": (patients.series, "p1.dcm"),
    "p1.ome.tif": (patients.ome, "p1.tif"),
}


class Threshold(nn.Module):
    """Class 1 where the mean of the channels is above 0 after normalisation; background elsewhere."""

    def forward(self, x):
        mean = x.mean(dim=1)
        return torch.stack([-20 * mean, 20 * mean], dim=1)


@pytest.fixture
def stub(monkeypatch):
    """`load_model` gives a thresholding network of so many channels."""

    def install(channels=1, spacing=(1.5, 1.25)):
        plan = Plan(
            channels=tuple(f"c{index}" for index in range(channels)),
            classes={"background": 0, "heart": 1},
            spacing=spacing,
            crop=(16, 16),
            batch=2,
            depth=2,
            intensity=("zscore",) * channels,
            mirror=False,
        )
        monkeypatch.setattr(infer, "load_model", lambda model: (Threshold(), plan))
        monkeypatch.setattr(infer, "for_inference", lambda net, device: net)

    install()
    return install


def predict(tmp_path, *inputs, **options):
    told = []
    paths = list(predict_files("stub", inputs, tmp_path / "out", PredictOptions(**options), warn=told.append))
    return paths, told


@pytest.mark.parametrize("name", INPUTS)
def test_one_patient_has_the_same_labels_in_every_format(stub, tmp_path, name):
    write, expected = INPUTS[name]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name, PATIENT, PATIENT.image)
    (path,), told = predict(tmp_path, tmp_path / "in")
    assert path == tmp_path / "out" / expected and not told
    image, label = read_image(tmp_path / "in" / name), read_label(path)
    np.testing.assert_array_equal(label.array, PATIENT.label > 0)
    assert difference(image.geometry, label.geometry) is None
    np.testing.assert_allclose(label.geometry.spacing, PATIENT.spacing, rtol=1e-4)


@pytest.mark.parametrize("format", ["nii.gz", "nrrd", "seg.nrrd", "mha", "tif", "dcm"])
def test_another_format_on_request(stub, tmp_path, format):
    series = patients.series(tmp_path / "p1", PATIENT, PATIENT.image)
    (path,), _ = predict(tmp_path, series, format=format)
    assert path.name == f"p1.{format}"
    label = onto_grid(read_image(series), read_label(path))
    np.testing.assert_array_equal(label.array, PATIENT.label > 0)
    if format in ("seg.nrrd", "dcm"):
        assert label.segments == {"heart": 1}


def test_maps_lie_beside_in_a_format_that_holds_fractions(stub, tmp_path):
    series = patients.series(tmp_path / "p1", PATIENT, PATIENT.image)
    scan = patients.itk(tmp_path / "p2.mha", PATIENT, PATIENT.image)
    predict(tmp_path, series, scan, save_probabilities=True, save_uncertainty=True, page=False)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "p1.dcm", "p1_probabilities.nii.gz", "p1_uncertainty.nii.gz",
        "p2.mha", "p2_probabilities.mha", "p2_uncertainty.mha",
    ]  # fmt: skip
    theirs = np.asarray(nib.load(tmp_path / "out" / "p1_probabilities.nii.gz").dataobj)
    ours = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "p2_probabilities.mha")).transpose(2, 1, 0, 3)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_folder_of_series_is_a_case_each(stub, tmp_path):
    for case in ("p1", "p2"):
        patients.series(tmp_path / "scans" / case, PATIENT, PATIENT.image)
    paths, _ = predict(tmp_path, tmp_path / "scans")
    assert [path.name for path in paths] == ["p1.dcm", "p2.dcm"]


def test_a_jpeg_gives_a_png_and_colours_are_channels(stub, tmp_path):
    stub(3, (1.0, 1.0))
    colours = np.full((40, 48, 3), 30, np.uint8)
    colours[8:24, 16:40] = 200
    Image.fromarray(colours).save(tmp_path / "a.jpg", quality=95)
    (path,), told = predict(tmp_path, tmp_path / "a.jpg")
    found = np.asarray(Image.open(path))
    assert path.name == "a.png" and found.shape == (40, 48) and found.dtype == np.uint8 and not told
    np.testing.assert_array_equal(found > 0, colours[..., 0] > 100)


def test_a_stack_without_spacing_gives_one_and_is_told_of_once(stub, tmp_path):
    stub(1, (1.0, 1.0))
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", PATIENT.image.transpose(2, 1, 0), photometric="minisblack")
    paths, told = predict(tmp_path, tmp_path / "a.tif", tmp_path / "b.tif")
    assert len(told) == 1 and told[0].startswith(f"{tmp_path / 'a.tif'}: no spacing")
    for path in paths:
        np.testing.assert_array_equal(tifffile.imread(path), (PATIENT.label > 0).transpose(2, 1, 0))
        assert not read_label(path).geometry.sized


def test_predictions_in_any_format_are_scored(stub, tmp_path):
    """The truth is a cropped segmentation in one, the prediction in the other."""
    series = patients.series(tmp_path / "p1", PATIENT, PATIENT.image)
    heart = (PATIENT.label > 0).astype(np.uint8)
    for folder in ("truth", "cropped"):
        (tmp_path / folder).mkdir()
    patients.nifti(tmp_path / "truth" / "p1_gt.nii.gz", PATIENT, heart)
    patients.dicom_seg(tmp_path / "cropped" / "p1_gt.dcm", series, heart, {"heart": 1})
    for format in ("nrrd", "dcm", "tif"):
        list(predict_files("stub", [series], tmp_path / format, PredictOptions(format=format)))
        assert evaluate_folders(tmp_path / format, tmp_path / "truth").mean.dice == 1
        if format != "tif":
            assert evaluate_folders(tmp_path / format, tmp_path / "cropped").mean.dice == 1
    assert evaluate_folders(tmp_path / "cropped", tmp_path / "truth").mean.dice == 1


def thumbnails(tmp_path, image, labels, spacing):
    """The picture of a page as drawn of slices that lie as they are to be seen."""
    save_thumbnails(tmp_path / "expected.png", image, labels.astype(np.uint8), spacing)
    return (tmp_path / "expected.png").read_bytes()


def test_the_page_shows_a_picture_as_it_is_stored(stub, tmp_path):
    stub(1, (1.0, 1.0))
    picture = np.random.default_rng(0).integers(20, 40, (40, 60)).astype(np.uint8)
    picture[4:10, 30:55] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    predict(tmp_path, tmp_path / "a.png")
    expected = thumbnails(tmp_path, picture[None], picture[None] > 100, (1, 1))
    assert (tmp_path / "out" / "pictures" / "a.png").read_bytes() == expected


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IAL"])
def test_the_page_shows_a_volume_upright_however_it_is_stored(stub, tmp_path, codes):
    """The front at the top, the patient's right at the left."""
    array = np.random.default_rng(0).integers(20, 40, (30, 24, 1)).astype(np.int16)  # to the right, front and head
    array[20:28, 15:20] = 200
    image = nib.Nifti1Image(array, np.diag([2.0, 1.0, 8.0, 1.0]))
    way = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(way), tmp_path / "a.nii")
    (path,), _ = predict(tmp_path, tmp_path / "a.nii")
    labels = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)
    assert labels[20:28, 15:20].all()
    expected = thumbnails(tmp_path, array[::-1, ::-1].T.astype(np.float32), labels[::-1, ::-1].T, (1, 2))
    assert (tmp_path / "out" / "pictures" / "a.png").read_bytes() == expected


# --- what is wrong


def test_formats_that_do_not_fit(stub, tmp_path):
    image = patients.nifti(tmp_path / "p1.nii.gz", PATIENT, PATIENT.image)
    with pytest.raises(InputError, match="p1.nii.gz: --format dcm of an image that is no DICOM series"):
        predict(tmp_path, image, format="dcm")
    with pytest.raises(InputError, match="--format bmp: found no such format, expected one of nii.gz, seg.nrrd"):
        predict(tmp_path, image, format="bmp")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"p1.nii.gz: \(22, 18, 5\) voxels are no PNG"):
        predict(tmp_path, image, format="png")
    assert not (tmp_path / "out").exists()


def test_channels_are_counted_before_anything_is_written(stub, tmp_path):
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png: case a has 3 channel\(s\), expected 1"):
        predict(tmp_path, tmp_path / "a.png")
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_replaced(stub, tmp_path):
    image = patients.itk(tmp_path / "p1.nrrd", PATIENT, PATIENT.image)
    with pytest.raises(InputError, match="p1.nrrd: an input that its own output would replace"):
        list(predict_files("stub", [image], tmp_path, PredictOptions(), overwrite=True))
    list(predict_files("stub", [image], tmp_path, PredictOptions(format="seg.nrrd"), overwrite=True))
    np.testing.assert_array_equal(read_label(tmp_path / "p1.seg.nrrd").array, PATIENT.label > 0)


@pytest.mark.parametrize("name", INPUTS)
def test_a_cut_file_is_one_line(stub, tmp_path, name):
    path = INPUTS[name][0](tmp_path / name, PATIENT, PATIENT.image)
    file = sorted(path.iterdir())[2] if path.is_dir() else path
    file = tmp_path / "p1.raw" if name in ("p1.nhdr", "p1.mhd") else file
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    result = CliRunner().invoke(app, ["predict", "stub", str(path), str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"pclmix: {path}") and "expected" in line


@pytest.mark.real_data
def test_a_real_patient(stub, real_data, tmp_path):
    """Thresholded, so that the labels are many and scattered."""
    stub(1, (1.5, 1.5))
    image = read_image(next((real_data / "acdc" / "training").rglob("patient021_frame01.nii.gz")))
    patient = patients.like(image)
    found = []
    for name, (write, expected) in INPUTS.items():
        folder = tmp_path / f"in_{name}"
        folder.mkdir()
        source = write(folder / name, patient, patient.image)
        list(predict_files("stub", [source], tmp_path / f"out_{name}", PredictOptions()))
        found.append(read_label(tmp_path / f"out_{name}" / expected).array)
    assert found[0].any()
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
