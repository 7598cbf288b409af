"""The dataset folder and every way it can be broken."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from pclmix.data.folder import (
    listed_val_cases,
    patients_from_file,
    read_dataset,
    read_dense,
    read_scribble,
    split,
    unlabelled_cases,
)
from pclmix.errors import InputError
from pclmix.labels import IGNORE


@pytest.fixture
def folder(phantom, tmp_path):
    return shutil.copytree(phantom, tmp_path / "data")


def edit(folder, **changes):
    path = folder / "dataset.json"
    meta = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in meta.items() if value is not None}))


def test_reads_what_is_there(folder):
    dataset = read_dataset(folder)
    assert [case.id for case in dataset.cases] == [f"heart00{p}_frame0{f}" for p in (1, 2) for f in (1, 2)]
    assert dataset.classes == {"background": 0, "RV": 1, "Myo": 2, "LV": 3} and dataset.ignore == 4
    scribble = read_scribble(dataset, dataset.cases[0]).array
    assert set(np.unique(scribble)) == {0, 1, 2, 3, IGNORE}
    assert set(np.unique(read_dense(dataset, dataset.cases[0]).array)) == {0, 1, 2, 3}


def test_unknown_label_value_names_the_file(folder):
    path = folder / "labelsTr" / "heart001_frame01.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(array, image.affine), path)
    dataset = read_dataset(folder)
    with pytest.raises(InputError, match=r"labelsTr/heart001_frame01.nii.gz: label 7, expected 0-3 or 4 \(ignore\)"):
        read_scribble(dataset, dataset.cases[0])


def test_broken_folders(folder):
    (folder / "labelsTr" / "ghost.nii.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"ghost.nii.gz: a label without its image"):
        read_dataset(folder)
    (folder / "labelsTr" / "ghost.nii.gz").unlink()
    twin = folder / "imagesTr" / "heart001_frame01_0000.nii"
    twin.write_bytes(b"x")
    with pytest.raises(InputError, match="two files for one case"):
        read_dataset(folder)
    twin.unlink()
    (folder / "imagesTr" / "heart001_frame01_0001.nii.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"channels \[0, 1\], expected 0-0"):
        read_dataset(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"background": 0, "RV": 1, "Myo": 3, "ignore": 4}}, "consecutive"),
        ({"labels": {"background": 0, "RV": 1}}, "ignore"),
        ({"labels": [1, 2]}, "name -> integer"),
        ({"channel_names": {}}, "channel_names"),
        ({"file_ending": ".png"}, "file_ending"),
        ({"patients": ["heart001"]}, "patients is a list"),
    ],
)
def test_bad_dataset_json(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(InputError, match=message):
        read_dataset(folder)


def test_missing_or_unreadable_dataset_json(folder):
    (folder / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        read_dataset(folder)
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match="no such file"):
        read_dataset(folder)


def test_cases_are_their_own_patients_with_a_warning_where_none_are_named(folder):
    edit(folder, patients=None)
    dataset = read_dataset(folder)
    assert dataset.cases[0].patient == dataset.cases[0].id and "patient" in dataset.warnings[0]


def test_a_case_without_a_patient_among_named_ones_is_told(folder):
    edit(folder, patients={"heart001_frame01": "heart001"})
    (line,) = read_dataset(folder).warnings
    assert "no patient of heart001_frame02 and 2 other cases" in line


def test_the_data_sets_own_list_names_patients_or_cases(folder):
    (folder / "val_cases.txt").write_bytes(b"\xef\xbb\xbfheart002\r\n")
    assert listed_val_cases(read_dataset(folder)) == {"heart002_frame01", "heart002_frame02"}
    (folder / "val_cases.txt").write_text("heart009\n")
    with pytest.raises(InputError, match=r"val_cases.txt: heart009 is neither"):
        listed_val_cases(read_dataset(folder))


def test_split_is_by_patient(folder, tmp_path):
    dataset = read_dataset(folder)
    listed = tmp_path / "val.txt"
    listed.write_text("# held out\nheart002\n\n")
    train, validated = split(dataset, patients_from_file(listed, dataset))
    assert {case.patient for case in train} == {"heart001"} and len(validated) == 2
    listed.write_text("heart001_frame02\n")
    train, validated = split(dataset, patients_from_file(listed, dataset))
    assert [case.id for case in validated] == ["heart001_frame02"] and {c.patient for c in train} == {"heart002"}
    listed.write_text("heart009\n")
    with pytest.raises(InputError, match="heart009 is neither"):
        patients_from_file(listed, dataset)


def test_unlabelled_cases_are_those_of_patients_to_train_on_that_have_no_label_of_any_kind(folder):
    for case in ("heart001_frame01", "heart002_frame01", "heart002_frame02"):
        (folder / "labelsTr" / f"{case}.nii.gz").unlink()
    for case in ("heart001_frame01", "heart002_frame01"):
        (folder / "labelsTr_dense" / f"{case}.nii.gz").unlink()
    dataset = read_dataset(folder)

    def unlabelled(*arguments):
        return [case.id for case in unlabelled_cases(dataset, *arguments)]

    assert unlabelled(set()) == ["heart001_frame01", "heart002_frame01"], "the third is there to be evaluated on"
    assert unlabelled({"heart002_frame02"}) == ["heart001_frame01"]
    assert unlabelled(set(), {"heart002_frame01"}) == ["heart002_frame01"]
    assert [case.id for case in split(dataset, set())[0]] == ["heart001_frame02"]
