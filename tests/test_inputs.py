"""What `predict` is given becomes cases: labels in a folder are left out, and that is said."""

import nibabel as nib
import numpy as np
import patients
import pytest

from pclmix.errors import InputError
from pclmix.inputs import InputCase, find_cases

PATIENT = patients.synthetic()


def scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return patients.nifti(path, PATIENT, PATIENT.image)


def label(path, dtype=np.uint8):
    return patients.nifti(path, PATIENT, PATIENT.label.astype(dtype))


def found(*inputs):
    told = []
    return [case.name for case in find_cases(inputs, 1, "m", told.append)], told


def test_labels_beside_images_are_left_out_in_one_line(tmp_path):
    """As in ACDC's patient folders."""
    folder = tmp_path / "patient101"
    for frame in ("01", "14"):
        scan(folder / f"patient101_frame{frame}.nii.gz")
        label(folder / f"patient101_frame{frame}_gt.nii.gz")
    (folder / "Info.cfg").write_text("ED: 1\n")
    names, (line,) = found(folder)
    assert names == ["patient101_frame01", "patient101_frame14"]
    assert line.startswith(f"{folder}/patient101_frame01_gt.nii.gz and 1 more: labels by their names and values, left")


@pytest.mark.parametrize("ending", ["_gt", "_seg", "-label", "_Scribble", "_manual", ".mask"])
def test_what_is_a_label_by_name(tmp_path, ending):
    scan(tmp_path / "a.nii.gz")
    label(tmp_path / f"a{ending}.nii.gz", np.float32)
    names, (line,) = found(tmp_path)
    assert names == ["a"] and line.startswith(f"{tmp_path}/a{ending}.nii.gz: labels by their names and values, left")


def test_a_name_alone_makes_no_label_nor_do_values(tmp_path):
    scan(tmp_path / "scan_seg.nii.gz")
    label(tmp_path / "binary.nii.gz")
    assert found(tmp_path) == (["binary", "scan_seg"], [])


def test_segmentations_are_labels_whatever_their_name(tmp_path):
    series = patients.series(tmp_path / "p1", PATIENT, PATIENT.image)
    patients.dicom_seg(tmp_path / "drawn.dcm", series, PATIENT.label)
    patients.itk(tmp_path / "p2.nrrd", PATIENT, PATIENT.image)
    patients.slicer(tmp_path / "p2.seg.nrrd", PATIENT, PATIENT.label)
    names, (line,) = found(tmp_path)
    assert names == ["p1", "p2"] and line.startswith(f"{tmp_path}/drawn.dcm and 1 more: labels")


def test_a_file_that_is_named_is_always_taken(tmp_path):
    scan(tmp_path / "a.nii.gz")
    path = label(tmp_path / "a_gt.nii.gz")
    assert found(path) == (["a_gt"], [])
    assert found(tmp_path, path)[0] == ["a", "a_gt"] and found(path, tmp_path) == (["a_gt", "a"], [])
    assert find_cases([path, tmp_path], 1, "m") == [
        InputCase("a_gt", (path,), listed=False),
        InputCase("a", (tmp_path / "a.nii.gz",), listed=True),
    ]


def test_a_folder_of_labels_alone_is_refused(tmp_path):
    label(tmp_path / "a_gt.nii.gz")
    with pytest.raises(InputError, match=f"^{tmp_path}: labels alone .a_gt.nii.gz., expected images"):
        found(tmp_path)


def test_folders_in_a_folder_are_not_searched_and_that_is_said(tmp_path):
    for name in ("p1", "p2"):
        scan(tmp_path / "scans" / name / f"{name}.nii.gz")
    (tmp_path / "scans" / "notes").mkdir()
    with pytest.raises(InputError, match=r"scans: no image in this folder itself, folders in it have some .p1, p2."):
        found(tmp_path / "scans")
    try:
        found(tmp_path / "scans")
    except InputError as error:
        assert str(error).endswith(f"expected those as inputs ({tmp_path}/scans/*)")
    with pytest.raises(InputError, match="notes: no image in this folder, expected NIfTI"):
        found(tmp_path / "scans" / "notes")


def test_a_file_whose_channels_cannot_be_counted_is_left_to_the_reading(tmp_path):
    scan(tmp_path / "a.nii.gz")
    (tmp_path / "b.png").write_text("no picture")
    assert found(tmp_path)[0] == ["a", "b"]


def test_channels_that_do_not_fit_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(PATIENT.image, np.eye(4)), tmp_path / "a_0000.nii.gz")
    nib.save(nib.Nifti1Image(PATIENT.image, np.eye(4)), tmp_path / "a_0001.nii.gz")
    with pytest.raises(InputError, match=r"a_0000.nii.gz: case a has 2 channel\(s\), expected 1 as in m"):
        found(tmp_path)
