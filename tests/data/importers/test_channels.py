"""What the channels of a folder are called: as told, or CT where DICOM series say so, since that decides how they are
normalised."""

import patients
import pydicom
import pytest
from painted import TOLD, folders, picture, save, strokes
from typer.testing import CliRunner

from pclmix.cli import app
from pclmix.config import PlannerSettings
from pclmix.data.fingerprint import intensity_rules
from pclmix.data.folder import read_dataset
from pclmix.data.importers.channels import parse_channels
from pclmix.data.importers.folder import import_folder, inspect_folder
from pclmix.errors import InputError

PATIENT = patients.synthetic()
CLASSES = {"RV": 1, "LV": 2}


def two_channels(root):
    images = save(root / "images", a_0000=picture(), a_0001=picture(1), b_0000=picture(2), b_0001=picture(3))
    return images, save(root / "labels", a=strokes(), b=strokes())


def series(root, case, modality="CT"):
    """A DICOM series of a case and its label."""
    folder = patients.series(root / "images" / case, PATIENT, PATIENT.image)
    for path in folder.iterdir():
        file = pydicom.dcmread(path)
        file.Modality = modality
        file.save_as(path)
    (root / "labels").mkdir(exist_ok=True)
    patients.itk(root / "labels" / f"{case}.nrrd", PATIENT, PATIENT.label)


def imported(root, **options):
    import_folder(root / "images", root / "labels", root / "out", classes=CLASSES, unlabelled=0, **options)
    return read_dataset(root / "out")


def test_names_stand_in_the_order_of_the_files_and_choose_the_rule(tmp_path):
    import_folder(*two_channels(tmp_path), tmp_path / "out", **TOLD, channels=("CT", "PET"))
    dataset = read_dataset(tmp_path / "out")
    assert dataset.channels == ("CT", "PET")
    assert intensity_rules(dataset, PlannerSettings()) == ("ct", "zscore")


def test_without_names_they_are_numbered(tmp_path):
    import_folder(*two_channels(tmp_path), tmp_path / "out", **TOLD)
    assert read_dataset(tmp_path / "out").channels == ("channel0", "channel1")


def test_the_report_says_the_names(tmp_path):
    found = inspect_folder(*two_channels(tmp_path), tmp_path / "out", **TOLD, channels=("CT", "PET"))
    assert "2 cases of 2 patients, 2 channels each (CT, PET); 2 with a label" in found.text


@pytest.mark.parametrize("look", [import_folder, inspect_folder])
@pytest.mark.parametrize("names", [("CT",), ("a", "b", "c")])
def test_too_few_or_too_many_names(tmp_path, look, names):
    images, labels = two_channels(tmp_path)
    given = ",".join(names)
    with pytest.raises(InputError) as error:
        look(images, labels, tmp_path / "out", **TOLD, channels=names)
    assert str(error.value).startswith(f"--channels {given}: {len(names)} name")
    assert str(error.value).endswith(f"expected 2, one a channel of {images}")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out_report").exists()


def test_the_option(tmp_path):
    images, labels = two_channels(tmp_path)
    told = ("--classes", "cell=1,nucleus=2", "--background", "3", "--unlabelled", "0", "--channels")
    arguments = ["import", "folder", str(images), str(labels), str(tmp_path / "out"), *told]
    assert CliRunner().invoke(app, [*arguments, "CT"]).stderr == (
        f"pclmix: --channels CT: 1 name, expected 2, one a channel of {images}\n"
    )
    assert CliRunner().invoke(app, [*arguments, "CT, PET"]).exit_code == 0
    assert read_dataset(tmp_path / "out").channels == ("CT", "PET")


def test_names_in_one_text():
    assert parse_channels("CT, PET ") == ("CT", "PET")
    for text in ("", "CT,", ",CT"):
        with pytest.raises(InputError, match=f"--channels {text}: a name is empty, expected NAME,NAME"):
            parse_channels(text)


def test_series_of_modality_ct_are_named_so(tmp_path):
    for case in ("p1", "p2"):
        series(tmp_path, case)
    dataset = imported(tmp_path)
    assert dataset.channels == ("CT",) and intensity_rules(dataset, PlannerSettings()) == ("ct",)


def test_a_name_that_is_told_goes_before_the_modality(tmp_path):
    series(tmp_path, "p1")
    assert imported(tmp_path, channels=("dose",)).channels == ("dose",)


@pytest.mark.parametrize("modality", ["MR", "", None])
def test_other_series_are_not_named_ct_nor_are_those_of_several_kinds(tmp_path, modality):
    series(tmp_path, "p1")
    series(tmp_path, "p2", modality)
    assert imported(tmp_path).channels == ("channel0",)


def test_a_case_of_another_format_leaves_the_channel_unnamed(tmp_path):
    series(tmp_path, "p1")
    patients.itk(tmp_path / "images" / "p2.nrrd", PATIENT, PATIENT.image)
    assert imported(tmp_path).channels == ("channel0",)


def test_pictures_are_not_asked_for_a_modality(tmp_path):
    import_folder(*folders(tmp_path), tmp_path / "out", **TOLD)
    assert read_dataset(tmp_path / "out").channels == ("channel0",)
