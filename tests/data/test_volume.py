"""Reading: repaired geometry, and one line for every kind of bad file. Writing: the image's own header."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from pclmix.data.volume import (
    Geometry,
    by_channel,
    difference,
    nifti_files,
    read_geometry,
    read_image,
    read_label,
    require_same_grid,
    slice_axis,
    write_label,
    write_map,
)
from pclmix.errors import InputError


def save(path, array, affine=None, zooms=None):
    image = nib.Nifti1Image(array, np.diag([1.5, 1.5, 8, 1.0]) if affine is None else affine)
    if zooms:
        image.header.set_zooms(zooms)
    nib.save(image, path)
    return path


def unit_scale(path, array):
    """As ACDC ships its images: a form of unit scale, the truth in pixdim only."""
    save(path, array, np.eye(4))
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[76 : 76 + 16] = np.array([1.0, 1.4, 1.4, 10.0], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(data)))
    return path


def test_spacing_comes_from_pixdim_where_the_affine_lies(tmp_path):
    path = unit_scale(tmp_path / "a.nii.gz", np.zeros((4, 5, 3), np.float32))
    assert np.allclose(np.abs(np.diag(nib.load(path).affine))[:3], 1)
    assert read_geometry(path)[1].spacing == pytest.approx((1.4, 1.4, 10.0))
    right = save(tmp_path / "b.nii.gz", np.zeros((4, 5, 3), np.uint8), np.diag([1.4, 1.4, 10, 1.0]))
    require_same_grid(read_image(path), read_label(right))


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 1e-3), (7, 1), (2 + 8, 1), (3 + 16, 1e-3)])
def test_the_units_of_a_header_are_brought_to_mm_and_a_label_keeps_them(tmp_path, code, factor):
    """ITK reads them so; a unit that is not said or unknown is mm, the higher bits are of time."""
    image = nib.Nifti1Image(np.zeros((4, 5, 3), np.float32), np.diag([1.5, 1.5, 8, 1.0]) + np.eye(4, k=3) * 30)
    image.header["xyzt_units"] = code
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_image(tmp_path / "a.nii.gz")
    for geometry in (volume.geometry, read_geometry(tmp_path / "a.nii.gz")[1]):
        assert geometry.spacing == pytest.approx((1.5 * factor, 1.5 * factor, 8 * factor))
        np.testing.assert_allclose(geometry.origin, [30 * factor, 0, 0])
    write_label(tmp_path / "b.nii.gz", np.zeros((4, 5, 3), np.uint8), volume)
    header = nib.load(tmp_path / "b.nii.gz").header
    assert header["xyzt_units"] == code and header.get_zooms() == (1.5, 1.5, 8)
    np.testing.assert_array_equal(header.get_best_affine(), image.affine)
    require_same_grid(volume, read_label(tmp_path / "b.nii.gz"))
    write_label(tmp_path / "b.mha", np.zeros((4, 5, 3), np.uint8), volume)
    require_same_grid(volume, read_label(tmp_path / "b.mha"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 5, 2), np.float32), r"4-D, shape \(3, 4, 5, 2\), .* one file a frame, PATIENT_frame01, "),
        (np.full((3, 4, 5), np.nan, np.float32), "NaN"),
        (np.zeros((3, 0, 5), np.float32), "empty"),
    ],
)
def test_bad_images(tmp_path, array, message):
    path = save(tmp_path / "bad.nii.gz", array)
    with pytest.raises(InputError, match=message) as error:
        read_image(path)
    assert "bad.nii.gz" in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)


def test_missing_truncated_and_foreign_files(tmp_path):
    good = save(tmp_path / "good.nii.gz", np.random.default_rng(0).normal(size=(30, 30, 5)).astype(np.float32))
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:4000])
    (tmp_path / "text.nii.gz").write_text("hello")
    (tmp_path / "nothing.nii").write_bytes(b"")
    for name in ("cut.nii.gz", "text.nii.gz", "nothing.nii", "missing.nii.gz"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_labels_are_integers(tmp_path):
    assert read_label(save(tmp_path / "a.nii.gz", np.full((2, 3, 4), 4.0, np.float32))).array.dtype == np.int16
    for value, dtype in ((-2, np.int16), (200, np.uint8), (7, np.float64)):
        label = read_label(save(tmp_path / "c.nii.gz", np.full((2, 3, 4), value, dtype)))
        assert label.array.dtype == np.int16 and (label.array == value).all()
    for value, dtype in ((0.4, np.float32), (np.nan, np.float32), (40_000, np.int32), (-40_000, np.int32)):
        with pytest.raises(InputError, match="integer"):
            read_label(save(tmp_path / "b.nii.gz", np.full((2, 3, 4), value, dtype)))


def test_grids_that_differ(tmp_path):
    array = np.zeros((4, 5, 3), np.float32)
    image = read_image(save(tmp_path / "a.nii.gz", array))
    moved, turned = np.diag([1.5, 1.5, 8, 1.0]), np.diag([-1.5, 1.5, 8, 1.0])
    moved[:3, 3] = 30
    for affine, word in ((np.diag([1.5, 1.5, 6, 1.0]), "spacing"), (moved, "origin"), (turned, "direction")):
        other = read_image(save(tmp_path / "b.nii.gz", array, affine))
        assert word in difference(image.geometry, other.geometry)
        with pytest.raises(InputError, match=r"b\.nii\.gz"):
            require_same_grid(image, other)
    other = read_image(save(tmp_path / "c.nii.gz", np.zeros((4, 5, 4), np.float32)))
    with pytest.raises(InputError, match="shape"):
        require_same_grid(image, other)


def test_written_label_keeps_both_forms_and_codes(tmp_path):
    path = unit_scale(tmp_path / "a.nii.gz", np.zeros((4, 5, 3), np.float32))
    image = nib.load(path)
    image.set_qform(image.get_qform(), 1)
    image.set_sform(np.eye(4), 2)
    image.header.set_xyzt_units("mm")
    zooms = image.header.get_zooms()
    nib.save(image, path)
    like = read_image(path)
    labels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_label(tmp_path / "out.nii.gz", labels, like)
    out = nib.load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(out.dataobj), labels) and out.get_data_dtype() == np.uint8
    for field in ("pixdim", "sform_code", "qform_code", "srow_x", "srow_z", "quatern_b", "qoffset_x", "xyzt_units"):
        assert np.array_equal(out.header[field], like.header[field]), field
    assert out.header.get_zooms() == zooms
    write_map(tmp_path / "map.nii.gz", np.zeros((4, 5, 3, 2)), like)
    assert nib.load(tmp_path / "map.nii.gz").shape == (4, 5, 3, 2)


def test_slice_axis_is_the_coarsest():
    shape = (9, 9, 9)
    assert slice_axis(shape, (1, 8, 1)) == 1 and slice_axis(shape, (1, 1, 1)) == 2
    assert slice_axis(shape, (8, 1, 1), "2") == 2
    assert slice_axis(shape, (2e-5, 1e-5, 1e-5)) == 0 and slice_axis(shape, (1.000001, 1, 1)) == 2


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1)])
def test_a_single_slice_is_a_slice_whatever_its_pixels(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.diag([1.5, 1.5, 1, 1])), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert slice_axis(image.array.shape, image.geometry.spacing) == 2


def test_an_origin_may_differ_by_half_a_voxel_along_each_axis():
    here = Geometry((1.5, 1.5, 10), np.eye(3), np.zeros(3))
    assert difference(here, Geometry(here.spacing, here.direction, np.array([0.7, -0.7, 4.9]))) is None
    assert "origin" in difference(here, Geometry(here.spacing, here.direction, np.array([0.8, 0, 0])))


def test_names_of_files(tmp_path):
    for name in ("a.nii.gz", "b.NII.GZ", "._a.nii.gz", "c.nii", "d.nii.gz.txt"):
        (tmp_path / name).touch()
    assert list(nifti_files(tmp_path).values()) == ["a", "b", "c"]
    with pytest.raises(InputError, match="cannot read"):
        nifti_files(tmp_path / "nowhere")
    files = {tmp_path / name: name for name in ("s_0000", "s_0001", "t", "u_0003")}
    channels = {case: sorted(known) for case, known in by_channel(files).items()}
    assert channels == {"s": [0, 1], "t": [0], "u_0003": [0]}


@pytest.mark.real_data
def test_acdc_images_and_scribbles_agree_after_repair(real_data):
    folder = real_data / "acdc"
    for scribble in sorted((folder / "scribbles").rglob("*.nii.gz"))[:20]:
        case = scribble.name.replace("_scribble", "")
        image = next((folder / "training").rglob(case))
        (shape, ours), (other_shape, theirs) = read_geometry(image), read_geometry(scribble)
        assert shape == other_shape and difference(ours, theirs) is None
        assert ours.spacing[0] < 2 and ours.spacing[2] >= 5
