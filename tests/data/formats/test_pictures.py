"""2-D images and stacks: axes, depth, colours, transparency, palettes, and labels that are no grey values."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image

from pclmix.data.volume import (
    count_channels,
    read_channels,
    read_image,
    read_label,
    read_stored,
    spacing_warning,
    write_label,
)
from pclmix.errors import InputError

GREY = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)  # five rows, seven columns
RGB = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)


def save(path, array):
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.PNG"])
def test_a_grey_image_is_a_volume_of_one_slice(tmp_path, name):
    path = save(tmp_path / name, GREY)
    (found,) = read_stored(path)
    np.testing.assert_array_equal(found.array[..., 0], GREY.T)
    assert found.geometry.spacing == (1, 1, 1) and not found.geometry.sized
    assert count_channels([path]) == 1


def test_a_jpeg_is_read(tmp_path):
    smooth = np.linspace(0, 200, 16 * 24).reshape(16, 24).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    found = read_image(tmp_path / "a.jpg").array[..., 0]
    assert found.shape == (24, 16) and np.abs(found - smooth.T).max() < 10


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colours_are_three_channels(tmp_path, name):
    path = save(tmp_path / name, RGB)
    assert count_channels([path]) == 3
    channels = read_channels(path)
    for index, channel in enumerate(channels):
        np.testing.assert_array_equal(channel.array[..., 0], RGB[..., index].T)
    with pytest.raises(InputError, match=f"{name}: an image of colours, expected one channel"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("colours", [GREY[..., None], RGB])
def test_alpha_is_dropped_where_it_hides_nothing(tmp_path, name, colours):
    alpha = np.full((5, 7, 1), 255, np.uint8)
    path = save(tmp_path / name, np.concatenate([colours, alpha], axis=-1))
    found = read_stored(path)
    assert len(found) == count_channels([path]) == colours.shape[-1]
    np.testing.assert_array_equal(found[0].array[..., 0], colours[..., 0].T)
    alpha[1, 2:4] = 0
    path = save(tmp_path / name, np.concatenate([colours, alpha], axis=-1))
    with pytest.raises(InputError, match=f"{name}: 2 transparent pixels"):
        read_stored(path)


def test_16_bits_are_kept(tmp_path):
    deep = (GREY.astype(np.uint16) * 1000)[..., None] + np.arange(3, dtype=np.uint16)
    np.testing.assert_array_equal(read_stored(save(tmp_path / "a.png", deep[..., 0]))[0].array[..., 0], deep[..., 0].T)
    sitk.WriteImage(sitk.GetImageFromArray(deep, isVector=True), tmp_path / "b.png")
    for index, channel in enumerate(read_stored(tmp_path / "b.png")):
        np.testing.assert_array_equal(channel.array[..., 0], deep[..., index].T)


def test_of_a_palette_a_label_takes_numbers_and_an_image_colours(tmp_path):
    picture = Image.fromarray(GREY % 3, "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").array[..., 0], (GREY % 3).T)
    red, green, blue = read_stored(tmp_path / "a.png")
    np.testing.assert_array_equal(red.array[..., 0] == 255, (GREY % 3 == 1).T)
    assert not green.array.any() and blue.array.any()


def test_labels_saved_as_colours(tmp_path):
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[0, :4], colours[1, :2] = (255, 0, 0), (0, 255, 0)
    with pytest.raises(InputError) as error:
        read_label(save(tmp_path / "a.png", colours))
    assert str(error.value) == (
        f"{tmp_path / 'a.png'}: labels saved as colours: (0, 0, 0) 29 times, (255, 0, 0) 4 times, (0, 255, 0) 2 times; "
        "expected one grey value a class"
    )
    with pytest.raises(InputError, match="and 30 more; expected one grey value"):
        read_label(save(tmp_path / "b.png", RGB))
    grey = save(tmp_path / "c.png", np.repeat(GREY[..., None] % 3, 3, axis=-1))
    np.testing.assert_array_equal(read_label(grey).array[..., 0], (GREY % 3).T)


def test_jpeg_changes_labels(tmp_path):
    with pytest.raises(InputError, match="a.jpg: labels as JPEG, which changes their values"):
        read_label(save(tmp_path / "a.jpg", GREY))


def test_a_label_as_png(tmp_path):
    image = read_image(save(tmp_path / "a.jpg", GREY))
    write_label(tmp_path / "b.png", (GREY % 3).T[..., None], image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), GREY % 3)
    with pytest.raises(InputError, match=r"a.jpg: \(7, 5, 2\) voxels are no PNG, expected one slice"):
        write_label(tmp_path / "c.png", np.zeros((7, 5, 2), np.uint8), image)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_are_slices(tmp_path, compression):
    stack = np.arange(4 * 5 * 7, dtype=np.int16).reshape(4, 5, 7) - 50
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", compression=compression)
    (found,) = read_stored(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.array, stack.transpose(2, 1, 0))
    warning = spacing_warning([found])
    assert warning is not None and warning.startswith(f"{tmp_path / 'a.tif'}: no spacing")


def test_pages_that_another_program_packed(tmp_path):
    """LZW, which tifffile unpacks with a library that may be absent."""
    pages = [Image.fromarray(GREY + index) for index in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    expected = np.stack([(GREY + index).T for index in range(3)], axis=-1)
    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif")[0].array, expected)
    save(tmp_path / "b.png", RGB)
    Image.open(tmp_path / "b.png").save(tmp_path / "b.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_stored(tmp_path / "b.tif")[2].array[..., 0], RGB[..., 2].T)


def test_units_of_imagej_and_ome(tmp_path):
    stack = np.zeros((4, 5, 7), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(2, 4), metadata={"axes": "ZYX", "unit": "um", "spacing": 3}
    )
    assert read_image(tmp_path / "a.tif").geometry.spacing == pytest.approx((0.0005, 0.00025, 0.003))
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 3.0}
    tifffile.imwrite(tmp_path / "b.ome.tif", stack, metadata={"axes": "ZYX", **sizes})
    assert read_image(tmp_path / "b.ome.tif").geometry.spacing == pytest.approx((0.0005, 0.00025, 0.003))
    tifffile.imwrite(tmp_path / "c.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    assert not read_image(tmp_path / "c.tif").geometry.sized


def test_stacks_that_are_no_volumes(tmp_path):
    metadata = {"axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 2, 5, 7), np.uint8), imagej=True, metadata=metadata)
    with pytest.raises(InputError, match="a.tif: axes ZCYX.*expected slices of grey or RGB"):
        read_image(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[1:], photometric="minisblack")
    with pytest.raises(InputError, match="b.tif: pages of 2 kinds or sizes"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_pictures_that_are_cut_short(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (60, 70)).astype(np.uint8)
    path = save(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=f"{name}: not a readable image"):
        read_image(path)
