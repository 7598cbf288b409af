"""DICOM: which files are a series, how its slices lie, and segmentations with and without overlap."""

import highdicom as hd
import numpy as np
import patients
import pydicom
import pytest
from pydicom.sr.codedict import codes

from pclmix.data.formats.listing import image_files
from pclmix.data.grid import difference, onto_grid
from pclmix.data.volume import count_channels, read_image, read_label, read_stored, write_label
from pclmix.errors import InputError

PATIENT = patients.synthetic()


@pytest.fixture
def series(tmp_path):
    return patients.series(tmp_path / "p1", PATIENT, PATIENT.image)


def change(folder, **changes):
    """Change fields of the series' first file by name."""
    path = sorted(folder.iterdir())[0]
    file = pydicom.dcmread(path)
    for name, value in changes.items():
        setattr(file, name, value)
    file.save_as(path)


def test_a_series_is_its_folder(series, tmp_path):
    assert image_files(series) == {series: "p1"}
    assert image_files(tmp_path) == {series: "p1"}
    assert count_channels([series]) == 1
    (series / "notes.txt").write_text("no DICOM")
    (series / ".hidden").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(read_image(series).array, PATIENT.image)


def test_a_folder_of_several_series_is_refused(series):
    patients.series(series / "x", PATIENT, PATIENT.image, description="scout")
    for file in (series / "x").iterdir():
        file.rename(series / f"scout{file.name}")
    with pytest.raises(InputError, match=r"p1: 2 DICOM series \(heart, scout\), expected one series a folder"):
        image_files(series)


def test_a_slice_that_is_missing(series):
    for file in series.iterdir():
        if pydicom.dcmread(file).InstanceNumber == 3:
            file.unlink()
    with pytest.raises(InputError, match="p1: slices 8 to 16 mm apart.*is one missing"):
        read_image(series)


def test_two_slices_at_one_place(series):
    place = pydicom.dcmread(sorted(series.iterdir())[1]).ImagePositionPatient
    change(series, ImagePositionPatient=place)
    with pytest.raises(InputError, match="p1: two slices at one place"):
        read_image(series)


def test_slices_without_a_place_or_across(series):
    change(series, ImageOrientationPatient=[0, 1, 0, 0, 0, 1])
    with pytest.raises(InputError, match="p1: slices of several directions"):
        read_image(series)
    change(series, ImageOrientationPatient=None)
    with pytest.raises(InputError, match="p1: slices without a place"):
        read_image(series)


def test_a_file_alone_is_a_series_of_one_slice(series):
    file = sorted(series.iterdir())[0]
    image = read_image(file)
    index = pydicom.dcmread(file).InstanceNumber - 1
    np.testing.assert_array_equal(image.array[..., 0], PATIENT.image[..., index])
    assert image.geometry.spacing == pytest.approx(PATIENT.spacing)


def test_all_slices_in_one_file(series, tmp_path):
    """An enhanced image, here a parametric map, whose frames lie where its header says."""
    sources = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda file: file.InstanceNumber)
    mapping = hd.pm.RealWorldValueMapping("1", "as stored", codes.UCUM.NoUnits, (-2e4, 2e4), slope=1, intercept=0)
    frames = PATIENT.image.transpose(2, 1, 0).astype(np.float32)
    file = hd.pm.ParametricMap(
        sources,
        frames,
        hd.UID(),
        3,
        hd.UID(),
        1,
        "maker",
        "model",
        "1",
        "0",
        False,
        [mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(0, 2000)],
    )
    (tmp_path / "whole").mkdir()
    file.save_as(tmp_path / "whole" / "frames.dcm")
    whole = read_image(tmp_path / "whole")
    np.testing.assert_array_equal(whole.array, PATIENT.image)
    assert difference(read_image(series).geometry, whole.geometry) is None
    write_label(tmp_path / "label.dcm", PATIENT.label, whole, patients.NAMES)
    np.testing.assert_array_equal(onto_grid(whole, read_label(tmp_path / "label.dcm")).array, PATIENT.label)


def test_a_segmentation_is_placed_into_its_series(series, tmp_path):
    path = patients.dicom_seg(tmp_path / "p1.dcm", series, PATIENT.label)
    label = read_label(path)
    assert label.array.shape[2] < PATIENT.label.shape[2]  # empty slices are left out of the file
    assert label.segments == patients.NAMES
    np.testing.assert_array_equal(onto_grid(read_stored(series)[0], label).array, PATIENT.label)
    assert image_files(tmp_path) == {path: "p1", series: "p1"}


def test_segments_that_overlap(series, tmp_path):
    masks = np.stack([PATIENT.label == 1, PATIENT.label == 2], axis=-1)
    masks[12:14, 2:5, 2, 0] = True
    path = patients.dicom_seg(tmp_path / "p1.dcm", series, None, masks=masks)
    with pytest.raises(InputError, match="p1.dcm: segments RV and LV share 6 voxels"):
        read_label(path)


def test_images_are_no_labels_nor_labels_images(series, tmp_path):
    path = patients.dicom_seg(tmp_path / "p1.dcm", series, PATIENT.label)
    with pytest.raises(InputError, match=r"p1.dcm: a segmentation \(DICOM SEG\), expected an image series"):
        read_image(path)
    with pytest.raises(InputError, match=r"p1: an image series, expected a segmentation \(DICOM SEG\)"):
        read_label(series)


def test_what_a_prediction_says_of_itself(series, tmp_path):
    write_label(tmp_path / "p1.dcm", PATIENT.label, read_image(series), {"background": 0, **patients.NAMES})
    file = hd.seg.segread(tmp_path / "p1.dcm")
    source = pydicom.dcmread(next(series.iterdir()))
    assert (file.PatientID, file.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert file.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    described = [file.get_segment_description(number) for number in file.segment_numbers]
    assert [segment.segment_label for segment in described] == ["RV", "LV"]
    assert described[0].SegmentAlgorithmType == "AUTOMATIC" and described[0].SegmentAlgorithmName == "PCLMix"
