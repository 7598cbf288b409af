"""`import folder` of one patient in every format makes one and the same data set; what is wrong is one line."""

import nibabel as nib
import numpy as np
import patients
import pytest
from PIL import Image
from typer.testing import CliRunner

from pclmix.cli import app
from pclmix.data.folder import read_dataset, read_scribble
from pclmix.data.grid import Volume, difference, from_lps_affine, unplaced
from pclmix.data.importers.folder import import_folder
from pclmix.data.importers.segments import by_name
from pclmix.data.volume import read_image, require_same_grid
from pclmix.errors import InputError
from pclmix.labels import IGNORE

PATIENT = patients.synthetic()
CLASSES = {"RV": 1, "LV": 2}
IMAGES = {
    "p1.nii.gz": patients.nifti,
    "p1.nrrd": patients.itk,
    "p1.nhdr": patients.itk,
    "p1.mha": patients.itk,
    "p1.mhd": patients.itk,
    "p1": patients.series,
}
LABELS = {
    "p1.nii.gz": patients.nifti,
    "p1.nrrd": patients.itk,
    "p1.mha": patients.itk,
    "p1.seg.nrrd": patients.slicer,
    "p1.dcm": None,  # it refers to a series, so it is made of one
    "p1.tif": patients.stack,
}


def folders(tmp_path, image_name="p1.nrrd", label_name="p1.nrrd"):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    IMAGES[image_name](images / image_name, PATIENT, PATIENT.image)
    if label_name == "p1.dcm":
        series = patients.series(tmp_path / "series", PATIENT, PATIENT.image)
        patients.dicom_seg(labels / label_name, series, PATIENT.label)
    elif label_name:
        LABELS[label_name](labels / label_name, PATIENT, PATIENT.label)
    return images, labels


def require_the_patient(out):
    dataset = read_dataset(out)
    (case,) = dataset.cases
    assert case.id == "p1" and [path.name for path in case.images] == ["p1_0000.nii.gz"]
    image, scribble = read_image(case.images[0]), read_scribble(dataset, case)
    require_same_grid(image, scribble)
    np.testing.assert_array_equal(image.array, PATIENT.image)
    assert nib.load(case.images[0]).get_data_dtype() == np.int16
    assert difference(from_lps_affine(PATIENT.affine), image.geometry) is None
    np.testing.assert_allclose(image.geometry.spacing, PATIENT.spacing, rtol=1e-5)
    np.testing.assert_array_equal(scribble.array, np.where(PATIENT.label == 0, IGNORE, PATIENT.label))


@pytest.mark.parametrize("name", IMAGES)
def test_images(tmp_path, name):
    images, labels = folders(tmp_path, name)
    import_folder(images, labels, tmp_path / "out", classes=CLASSES, unlabelled=0)
    require_the_patient(tmp_path / "out")


@pytest.mark.parametrize("name", LABELS)
def test_labels(tmp_path, name):
    images, labels = folders(tmp_path, label_name=name)
    import_folder(images, labels, tmp_path / "out", classes=CLASSES, unlabelled=0)
    require_the_patient(tmp_path / "out")


@pytest.mark.parametrize("name", ["p1.seg.nrrd", "p1.dcm"])
def test_segments_are_matched_by_name(tmp_path, name):
    """The file has RV 1 and LV 2; the values given are others, and the wrong way round."""
    images, labels = folders(tmp_path, label_name=name)
    import_folder(images, labels, tmp_path / "out", classes={"lv": 1, "RV ": 5}, unlabelled=0)
    dataset = read_dataset(tmp_path / "out")
    array = read_scribble(dataset, dataset.cases[0]).array
    np.testing.assert_array_equal(array == 1, PATIENT.label == 2)
    np.testing.assert_array_equal(array == 2, PATIENT.label == 1)


def test_a_segment_without_a_class_keeps_its_value_unless_that_is_anothers():
    label = Volume(PATIENT.label.astype(np.int16), unplaced(None), "a.seg.nrrd", None, {"RV": 1, "LV": 2})
    found = by_name(label, {"LV": 7})
    assert np.unique(found.array).tolist() == [0, 1, 7] and found.segments == {"RV": 1, "LV": 7}
    with pytest.raises(InputError, match="a.seg.nrrd: segment RV has value 1, which is also that of segment LV"):
        by_name(label, {"LV": 1})
    without = Volume(PATIENT.label, unplaced(None), "a.nrrd", None)
    assert by_name(without, {"LV": 7}) is without


def test_background_strokes_may_be_a_segment(tmp_path):
    images, labels = folders(tmp_path, label_name="")
    patients.slicer(labels / "p1.seg.nrrd", PATIENT, PATIENT.label, {"Background": 1, "LV": 2})
    import_folder(images, labels, tmp_path / "out", classes={"LV": 1}, background=9, unlabelled=0)
    dataset = read_dataset(tmp_path / "out")
    array = read_scribble(dataset, dataset.cases[0]).array
    np.testing.assert_array_equal(array == 0, PATIENT.label == 1)
    np.testing.assert_array_equal(array == 1, PATIENT.label == 2)


def test_what_lies_round_a_segmentation_needs_a_meaning(tmp_path):
    """Slicer saves the box round the strokes; here it is full, so that no 0 is in the file."""
    images, labels = folders(tmp_path, label_name="")
    patients.slicer(labels / "p1.seg.nrrd", PATIENT, np.ones((3, 4, 2), np.uint8), {"LV": 1})
    with pytest.raises(InputError, match="value 0 has no meaning"):
        import_folder(images, labels, tmp_path / "out", classes={"LV": 1})
    import_folder(images, labels, tmp_path / "out", classes={"LV": 1}, unlabelled=0)
    dataset = read_dataset(tmp_path / "out")
    array = read_scribble(dataset, dataset.cases[0]).array
    assert (array[:3, :4, :2] == 1).all() and (array == IGNORE).sum() == array.size - 24


def pictures(tmp_path):
    """Two RGB cases and their grey labels."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    strokes = np.zeros((9, 12), np.uint8)
    strokes[2, 3:8], strokes[6, 1:4] = 1, 2
    for case in ("a", "b"):
        Image.fromarray(colours).save(tmp_path / "images" / f"{case}.png")
        Image.fromarray(strokes).save(tmp_path / "labels" / f"{case}.png")
    return tmp_path / "images", tmp_path / "labels", colours, strokes


def test_colours_become_three_channels(tmp_path):
    images, labels, colours, strokes = pictures(tmp_path)
    import_folder(images, labels, tmp_path / "out", classes={"k": 1}, background=2, unlabelled=0)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.channels == ("R", "G", "B") and [case.id for case in dataset.cases] == ["a", "b"]
    for index, path in enumerate(dataset.cases[0].images):
        np.testing.assert_array_equal(read_image(path).array[..., 0], colours[..., index].T)
    scribble = read_scribble(dataset, dataset.cases[0])
    require_same_grid(read_image(dataset.cases[0].images[0]), scribble)
    np.testing.assert_array_equal(scribble.array[..., 0] == 1, (strokes == 1).T)


def test_a_stack_without_spacing_is_told_of_once(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for case in ("a", "b"):
        patients.tifffile.imwrite(images / f"{case}.tif", PATIENT.image.transpose(2, 1, 0), photometric="minisblack")
        patients.tifffile.imwrite(labels / f"{case}.tif", PATIENT.label.transpose(2, 1, 0), photometric="minisblack")
    report = import_folder(images, labels, tmp_path / "out", classes=CLASSES, unlabelled=0)
    told = [line for line in report.warnings if "no spacing" in line]
    assert len(told) == 1 and told[0].startswith(f"{images / 'a.tif'}: ")


# --- what is wrong: exit code 2 and one line


def refused(tmp_path, classes="RV=1,LV=2"):
    arguments = ["import", "folder", tmp_path / "images", tmp_path / "labels", tmp_path / "out", "--classes", classes]
    result = CliRunner().invoke(app, [*map(str, arguments), "--unlabelled", "0"])
    assert result.exit_code == 2 and not (tmp_path / "out").exists(), result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("pclmix: ").replace(f"{tmp_path}/", "")


def test_overlapping_segments(tmp_path):
    _, labels = folders(tmp_path, label_name="")
    layers = [(PATIENT.label == value).astype(np.uint8) for value in (1, 2)]
    layers[0][12:14, 2:5, 2] = 1
    patients.slicer(labels / "p1.seg.nrrd", PATIENT, None, layers=layers)
    assert refused(tmp_path) == "labels/p1.seg.nrrd: segments RV and LV share 6 voxels, expected no overlap"


def test_labels_saved_as_colours(tmp_path):
    _, labels, colours, _ = pictures(tmp_path)
    Image.fromarray((colours // 200) * 255).save(labels / "b.png")
    line = refused(tmp_path)
    assert line.startswith("labels/b.png: labels saved as colours: (0, 0, 0) ")
    assert line.endswith("expected one grey value a class")


def test_sizes_that_differ(tmp_path):
    _, labels, _, strokes = pictures(tmp_path)
    Image.fromarray(strokes[:, 1:]).save(labels / "b.png")
    assert refused(tmp_path, "k=1,l=2") == ("labels/b.png: shape (11, 9, 1), expected (12, 9, 1) as in images/b.png")


def test_several_series_in_a_folder(tmp_path):
    images, _ = folders(tmp_path, "p1")
    scout = patients.series(tmp_path / "scout", PATIENT, PATIENT.image, description="scout")
    for file in scout.iterdir():
        file.rename(images / "p1" / f"s{file.name}")
    assert refused(tmp_path) == "images/p1: 2 DICOM series (heart, scout), expected one series a folder"


def test_grey_among_colours(tmp_path):
    images, _, _, strokes = pictures(tmp_path)
    Image.fromarray(strokes).save(images / "b.png")
    assert refused(tmp_path, "k=1,l=2") == "images/b.png: channels [0] of this case, expected 0-2"


@pytest.mark.parametrize("name", IMAGES)
def test_images_cut_short(tmp_path, name):
    images, _ = folders(tmp_path, name)
    path = images / name
    file = sorted(path.iterdir())[2] if path.is_dir() else path
    file = images / "p1.raw" if name in ("p1.nhdr", "p1.mhd") else file
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    line = refused(tmp_path)
    assert line.startswith(f"images/{name}") and "expected" in line
