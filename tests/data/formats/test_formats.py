"""One patient in every format gives the same array in the same axes, the same spacing and the same place."""

import nibabel as nib
import numpy as np
import patients
import pytest
import SimpleITK as sitk  # noqa: N813

from pclmix.data.grid import difference, from_lps_affine, onto_grid
from pclmix.data.volume import read_image, read_label, read_stored, write_array, write_label, write_map
from pclmix.errors import InputError

PATIENT = patients.synthetic()
IMAGES = {
    "a.nii.gz": patients.nifti,
    "a.nii": patients.nifti,
    "a.nrrd": patients.itk,
    "a.nhdr": patients.itk,
    "a.mha": patients.itk,
    "a.mhd": patients.itk,
    "A.NRRD": patients.itk,
    "series": patients.series,
}
STACKS = {"a.tif": patients.stack, "a.ome.tif": patients.ome, "a.ome.tiff": patients.ome}


@pytest.mark.parametrize("name", IMAGES)
def test_image_spacing_and_place(tmp_path, name):
    (found,) = read_stored(IMAGES[name](tmp_path / name, PATIENT, PATIENT.image))
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, PATIENT.image)
    np.testing.assert_allclose(found.geometry.spacing, PATIENT.spacing, rtol=1e-6)
    assert difference(from_lps_affine(PATIENT.affine), found.geometry) is None
    np.testing.assert_allclose(found.geometry.origin, np.array(PATIENT.origin) * [-1, -1, 1], atol=1e-4)
    np.testing.assert_allclose(found.geometry.direction, np.diag([-1, -1, 1]) @ PATIENT.direction, atol=1e-6)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.uint8])
def test_stacks_hold_slices_and_spacing_but_no_place(tmp_path, name, dtype):
    array = np.abs(PATIENT.image).astype(dtype)
    (found,) = read_stored(STACKS[name](tmp_path / name, PATIENT, array))
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == dtype and found.geometry.sized and not found.geometry.placed
    np.testing.assert_allclose(found.geometry.spacing, PATIENT.spacing, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_types_are_kept(tmp_path, name, dtype):
    array = (PATIENT.image / 4 + 300).astype(dtype)
    path = IMAGES[name](tmp_path / name, PATIENT, array)
    assert read_stored(path)[0].array.dtype == dtype
    np.testing.assert_array_equal(read_stored(path)[0].array, array)


def test_the_rescale_slope_is_applied(tmp_path):
    path = patients.series(tmp_path / "hounsfield", PATIENT, PATIENT.image + 1024, intercept=-1024)
    assert read_stored(path)[0].array.dtype == np.int16
    np.testing.assert_array_equal(read_stored(path)[0].array, PATIENT.image)
    path = patients.series(tmp_path / "becquerel", PATIENT, PATIENT.image, slope=0.25, intercept=1.5)
    np.testing.assert_allclose(read_image(path).array, PATIENT.image * 0.25 + 1.5)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.seg.nrrd", "a.dcm"])
def test_a_label_written_is_the_label_read(tmp_path, name):
    """Whatever the image's format was, as long as a DICOM SEG has a series to refer to."""
    image = read_image(patients.series(tmp_path / "series", PATIENT, PATIENT.image))
    path = tmp_path / name
    write_label(path, PATIENT.label, image, {"background": 0, **patients.NAMES})
    found = read_label(path)
    np.testing.assert_array_equal(found.array, PATIENT.label)
    assert difference(image.geometry, found.geometry) is None
    assert found.segments == (patients.NAMES if name in ("a.seg.nrrd", "a.dcm") else None)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_nifti_and_itk_agree_on_what_we_write(tmp_path):
    image = read_image(patients.itk(tmp_path / "a.nrrd", PATIENT, PATIENT.image))
    write_array(tmp_path / "b.nii.gz", PATIENT.image, image, {})
    file = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(file.affine, np.diag([-1, -1, 1, 1]) @ PATIENT.affine, atol=1e-4)
    assert (int(file.header["qform_code"]), int(file.header["sform_code"])) == (1, 1)
    ours = sitk.ReadImage(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(ours.GetDirection(), PATIENT.direction.ravel(), atol=1e-5)
    np.testing.assert_allclose(ours.GetOrigin(), PATIENT.origin, atol=1e-4)


def test_the_repaired_spacing_goes_into_other_formats(tmp_path):
    """As in ACDC: the affine says 1 mm, pixdim the truth."""
    file = nib.Nifti1Image(PATIENT.image, np.eye(4))
    file.header.set_zooms(PATIENT.spacing)
    file.header["sform_code"], file.header["qform_code"] = 1, 0
    (tmp_path / "a.nii").write_bytes(file.header.binaryblock + bytes(4) + PATIENT.image.tobytes(order="F"))
    image = read_image(tmp_path / "a.nii")
    write_label(tmp_path / "b.nrrd", PATIENT.label, image)
    assert read_label(tmp_path / "b.nrrd").geometry.spacing == pytest.approx(PATIENT.spacing)
    assert onto_grid(image, read_label(tmp_path / "b.nrrd")).array.sum() == PATIENT.label.sum()


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_maps_are_fractions_with_channels_last(tmp_path, name):
    image = read_image(patients.itk(tmp_path / "image.nrrd", PATIENT, PATIENT.image))
    doubt = np.random.default_rng(0).random((*PATIENT.image.shape, 3)).astype(np.float32)
    write_map(tmp_path / f"one_{name}", doubt[..., 0], image)
    np.testing.assert_array_equal(read_image(tmp_path / f"one_{name}").array, doubt[..., 0])
    write_map(tmp_path / name, doubt, image)
    if name == "a.nii.gz":
        np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), doubt)
    else:
        found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / name))
        np.testing.assert_array_equal(found.transpose(2, 1, 0, 3), doubt)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


@pytest.mark.parametrize("name", [*IMAGES, *STACKS])
def test_files_that_are_cut_short(tmp_path, name):
    path = (IMAGES | STACKS)[name](tmp_path / name, PATIENT, PATIENT.image)
    if path.is_dir():
        cut(sorted(path.iterdir())[2])
    else:
        cut(tmp_path / "a.raw" if name in ("a.nhdr", "a.mhd") else path)
    with pytest.raises(InputError, match=f"^{path}") as error:
        read_image(path)
    assert "\n" not in str(error.value) and "expected" in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "a.nii.gz",
        "a.nrrd",
        "a.seg.nrrd",
        "a.nhdr",
        "a.mha",
        "a.mhd",
        "a.dcm",
        "a.png",
        "a.jpg",
        "a.bmp",
        "a.tif",
        "a.x",
    ],
)
def test_text_is_no_image(tmp_path, name):
    (tmp_path / name).write_text("no image\n")
    for read in (read_image, read_label):
        with pytest.raises(InputError, match=f"^{tmp_path / name}: .*expected"):
            read(tmp_path / name)
    with pytest.raises(InputError, match=f"^{tmp_path / 'none'}.*: no such file"):
        read_image(tmp_path / f"none{name[1:]}")


def test_images_that_are_no_volumes(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([sitk.Image(4, 5, 6, sitk.sitkInt16)] * 2), tmp_path / "a.nrrd")
    with pytest.raises(InputError, match=r"a.nrrd: 4-D, shape \(4, 5, 6, 2\), .* one file a frame, PATIENT_frame01, "):
        read_image(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.Image((4, 5, 6), sitk.sitkVectorUInt8, 5), tmp_path / "b.nrrd")
    with pytest.raises(InputError, match="b.nrrd: 5 values a voxel"):
        read_image(tmp_path / "b.nrrd")


@pytest.mark.real_data
def test_a_real_patient_in_every_format(real_data, tmp_path):
    image = read_stored(next((real_data / "acdc" / "training").rglob("patient021_frame01.nii.gz")))[0]
    patient = patients.like(image)
    for name, write in (IMAGES | {"a.ome.tif": patients.ome}).items():
        (found,) = read_stored(write(tmp_path / name, patient, patient.image))
        np.testing.assert_array_equal(found.array, image.array)
        np.testing.assert_allclose(found.geometry.spacing, image.geometry.spacing, rtol=1e-5)
        assert difference(image.geometry, found.geometry) is None
