"""From image files to label files, with small networks whose answer is known."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, special
from torch import nn
from typer.testing import CliRunner

from pclmix import infer
from pclmix.cli import app
from pclmix.config import Plan
from pclmix.data.volume import read_image
from pclmix.errors import InputError
from pclmix.infer import PredictOptions, predict_files, predict_slices, predict_volume
from pclmix.model_file import save_model
from pclmix.network.dual import segmentation_net
from pclmix.network.fast import for_inference

CPU = torch.device("cpu")
SPACING = (1.5, 1.25, 8.0)


def make_plan(channels=1, classes=3, **changes):
    values = {
        "channels": tuple(f"mr{index}" for index in range(channels)),
        "classes": {name: value for value, name in enumerate(["background", "a", "b"][:classes])},
        "spacing": (1.5, 1.25),
        "crop": (32, 32),
        "batch": 2,
        "depth": 2,
        "intensity": ("zscore",) * channels,
    }
    return Plan(**(values | changes))


class Threshold(nn.Module):
    """Class 1 where the first channel is above 0 after normalisation; background elsewhere."""

    def forward(self, x):
        return torch.stack([-20 * x[:, 0], 20 * x[:, 0]], dim=1)


class Ramp(nn.Module):
    """Prefers class 1 more and more to the lower right, whatever the image; remembers the batches it saw."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        rows = torch.linspace(-1, 1, x.shape[2])[:, None] + torch.linspace(-2, 2, x.shape[3])
        rows = rows + x[:, 0]
        return torch.stack([torch.zeros_like(rows), rows], dim=1)


def body(shape=(40, 36, 5)):
    """A bright ellipsoid, off the centre along every axis, on a dark ground."""
    places = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    squared = sum(((place - 0.15 * (i + 1)) / 0.5) ** 2 for i, place in enumerate(places))
    return (squared < 1).astype(np.float32)


def write(path, array, spacing=SPACING):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def agreement(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


# --- slices


def test_probabilities_are_the_softmax_at_every_pixel():
    slices = np.random.default_rng(0).normal(size=(3, 1, 9, 11)).astype(np.float32)
    result = predict_slices(Threshold(), slices, CPU)
    assert result.shape == (3, 2, 9, 11) and result.dtype == torch.float32
    np.testing.assert_allclose(result[:, 1].numpy(), special.expit(40 * slices[:, 0]), atol=1e-5)


def test_mirroring_is_the_mean_over_the_four_flips():
    slices = np.random.default_rng(0).normal(size=(2, 1, 8, 10)).astype(np.float32)
    flips = [(), (2,), (3,), (2, 3)]
    single = [np.flip(predict_slices(Ramp(), np.flip(slices, f), CPU).numpy(), f) for f in flips]
    mirrored = predict_slices(Ramp(), slices, CPU, make_plan(mirror=True)).numpy()
    np.testing.assert_allclose(mirrored, np.mean(single, axis=0), atol=1e-6)
    assert np.abs(mirrored - single[0]).max() > 0.05
    flipped = predict_slices(Ramp(), slices[..., ::-1], CPU, make_plan(mirror=True)).numpy()
    np.testing.assert_allclose(flipped[..., ::-1], mirrored, atol=1e-6)


def test_turning_is_the_mean_of_the_slice_and_its_turned_copies_brought_back():
    slices = np.random.default_rng(0).normal(size=(2, 1, 9, 14)).astype(np.float32)
    turn, middle = np.radians(20), np.array([4.0, 6.5])

    def shown(image, angle):
        """What a turned copy shows, pixel by pixel; 0 beyond the image."""
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        moved = ndimage.affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="grid-constant")
        return moved.astype(np.float32)

    total = predict_slices(Ramp(), slices, CPU).numpy()
    for angle in (-turn, turn):
        copy = np.stack([[shown(channel, angle) for channel in image] for image in slices])
        found = predict_slices(Ramp(), copy, CPU).numpy()
        total = total + np.stack([[shown(channel, -angle) for channel in image] for image in found])
    plan = make_plan(classes=2, mirror=False, turn=20)
    result = predict_slices(Ramp(), slices, CPU, plan).numpy()
    np.testing.assert_allclose(result, total / total.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)
    assert np.abs(result - predict_slices(Ramp(), slices, CPU).numpy()).max() > 0.05


def test_a_corner_that_turned_copies_do_not_show_keeps_what_the_slice_says():
    class Corner(nn.Module):
        """Class 1 where the image is bright, sure of it."""

        def forward(self, x):
            return torch.stack([-40 * (x[:, 0] - 0.5), 40 * (x[:, 0] - 0.5)], dim=1)

    slices = np.zeros((1, 1, 40, 40), np.float32)
    slices[..., :3, :3] = 1
    labels = predict_slices(Corner(), slices, CPU, make_plan(classes=2, mirror=False, turn=45)).argmax(dim=1)
    np.testing.assert_array_equal(labels.numpy(), slices[:, 0])


def test_batches_are_bounded_by_pixels_and_do_not_change_the_result(monkeypatch):
    slices = np.random.default_rng(0).normal(size=(7, 1, 8, 10)).astype(np.float16)
    whole = predict_slices(Ramp(), slices, CPU)
    monkeypatch.setattr(infer, "PIXELS_AT_ONCE", 170)
    net = Ramp()
    torch.testing.assert_close(predict_slices(net, slices, CPU), whole)
    assert net.batches == [2, 2, 2, 1]
    monkeypatch.setattr(infer, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(predict_slices(Ramp(), slices, CPU), whole)


def test_slices_straight_from_a_memory_map(tmp_path):
    slices = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float16)
    np.save(tmp_path / "slices.npy", slices)
    mapped = np.load(tmp_path / "slices.npy", mmap_mode="r")
    torch.testing.assert_close(
        predict_slices(Threshold(), mapped, CPU, make_plan(mirror=True)),
        predict_slices(Threshold(), slices, CPU, make_plan(mirror=True)),
    )


# --- volumes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_lie_on_the_native_grid_whatever_the_slice_axis(tmp_path, axis):
    """The slices are those of the largest spacing; the file's own axis order comes back."""
    array, spacing = np.moveaxis(body(), 2, axis), np.insert([1.5, 1.25], axis, 8.0)
    volume = read_image(write(tmp_path / "c.nii.gz", array, spacing))
    plan = make_plan(classes=2, mirror=False)
    result = predict_volume(Threshold(), plan, [volume], CPU, probabilities=True, uncertainty=True)
    np.testing.assert_array_equal(result.labels, array.astype(np.uint8))
    assert result.labels.dtype == np.uint8
    assert result.probabilities.shape == (*array.shape, 2) and result.uncertainty.shape == array.shape
    np.testing.assert_array_equal(result.probabilities.argmax(axis=-1), result.labels)


@pytest.mark.parametrize("spacing", [(0.9, 0.8), (2.1, 2.4), (1.5, 3.0)])
def test_resampling_there_and_back_keeps_the_structure_in_place(tmp_path, spacing):
    truth = body((61, 47, 5)) > 0
    volume = read_image(write(tmp_path / "c.nii.gz", truth.astype(np.float32)))
    half = {"intensity": ("ct",), "clip": ((0.0, 1.0),), "statistics": ((0.5, 0.5),)}  # so that the threshold is at 0.5
    plan = make_plan(classes=2, mirror=False, spacing=spacing, **half)
    ours = predict_volume(Threshold(), plan, [volume], CPU).labels > 0
    assert ours.shape == truth.shape
    assert agreement(ours, truth) > 0.95
    centres = [np.argwhere(mask).mean(axis=0) for mask in (ours, truth)]
    np.testing.assert_allclose(centres[0], centres[1], atol=0.3)


def test_uncertainty_is_the_entropy_over_its_largest_value(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            p = torch.tensor([0.5, 0.25, 0.25]).log()[None, :, None, None]
            return p.expand(len(x), 3, *x.shape[2:])

    volume = read_image(write(tmp_path / "c.nii.gz", body()))
    result = predict_volume(Fixed(), make_plan(), [volume], CPU, uncertainty=True)
    np.testing.assert_allclose(result.uncertainty, 1.5 * np.log(2) / np.log(3), rtol=1e-5)
    assert result.probabilities is None
    assert predict_volume(Fixed(), make_plan(), [volume], CPU).uncertainty is None


def test_largest_component_follows_the_plan(tmp_path):
    array = body()
    array[0:2, 0:2, 0] = 1
    volume = read_image(write(tmp_path / "c.nii.gz", array))
    plan = make_plan(classes=2)
    np.testing.assert_array_equal(predict_volume(Threshold(), plan, [volume], CPU).labels, array)
    kept = predict_volume(Threshold(), plan.model_copy(update={"largest_component": ((1,),)}), [volume], CPU).labels
    np.testing.assert_array_equal(kept, body())


def test_nothing_found_leaves_nothing_to_keep(tmp_path):
    volume = read_image(write(tmp_path / "c.nii.gz", body()))
    plan = make_plan(classes=2, largest_component=((1,),), intensity=("ct",), clip=((0, 1),), statistics=((9, 1),))
    assert not predict_volume(Threshold(), plan, [volume], CPU).labels.any()


def test_options_override_the_plan_only_where_they_are_given():
    plan = make_plan(mirror=True, largest_component=((2,),))
    assert PredictOptions().applied(plan) == plan
    changed = PredictOptions(mirror=False, turn=15, largest_component=True).applied(plan)
    assert (changed.mirror, changed.turn, changed.largest_component) == (False, 15, ((1, 2), (1,), (2,)))
    assert PredictOptions(turn=0).applied(changed).turn == 0
    for angle in (-1, 181, float("nan")):
        with pytest.raises(InputError, match=r"--turn .*: found no angle of 0 to 180 degrees"):
            PredictOptions(turn=angle).applied(plan)
    assert PredictOptions(largest_component=False).applied(plan).largest_component == ()
    assert (plan.mirror, plan.largest_component) == (True, ((2,),))


# --- files


@pytest.fixture
def model(tmp_path):
    plan = make_plan()
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", segmentation_net(plan), plan)
    return tmp_path / "model.safetensors"


@pytest.fixture
def model_of_two_channels(tmp_path):
    plan = make_plan(channels=2)
    torch.manual_seed(0)
    save_model(tmp_path / "two.safetensors", segmentation_net(plan), plan)
    return tmp_path / "two.safetensors"


def noise(seed, shape=(20, 23, 4)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_files_and_folders_give_a_label_file_a_case(model, tmp_path):
    for index in range(5):
        write(tmp_path / "in" / f"case{index}.nii.gz", noise(index))
    single = write(tmp_path / "more" / "extra_0000.nii", noise(9))
    (tmp_path / "in" / "readme.txt").write_text("not an image")
    out = tmp_path / "out"
    written = list(predict_files(model, [tmp_path / "in", single], out, PredictOptions()))
    names = [*(f"case{index}.nii.gz" for index in range(5)), "extra.nii.gz"]
    assert written == [out / name for name in names]
    assert sorted(path.name for path in out.glob("*.nii.gz")) == names
    assert {path.name for path in out.iterdir()} - set(names) == {"index.html", "summary.csv", "pictures"}
    assert {path.stem for path in (out / "pictures").iterdir()} == {name.split(".")[0] for name in names}
    assert (out / "summary.csv").read_text().count("\n") == 1 + 2 * len(names)
    alone = list(predict_files(model, [single], tmp_path / "alone", PredictOptions(page=False)))
    assert list((tmp_path / "alone").iterdir()) == alone
    net, plan = infer.load_model(model)
    for path, source in zip(written, [*sorted((tmp_path / "in").glob("*.gz")), single], strict=True):
        expected = predict_volume(net, plan, [read_image(source)], CPU).labels
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), expected)


def test_labels_keep_the_header_of_their_image(model, tmp_path):
    """As in ACDC: a sform of unit scale, a true qform and pixdim; all of it comes back."""
    image = nib.Nifti1Image((100 * noise(0)).astype(np.int16), None)
    image.header.set_zooms(SPACING)
    image.set_sform(np.eye(4), 1)
    image.set_qform(np.diag([*SPACING, 1.0]), 2)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "c.nii.gz")
    options = PredictOptions(save_probabilities=True, save_uncertainty=True)
    list(predict_files(model, [tmp_path / "c.nii.gz"], tmp_path / "out", options))
    source = nib.load(tmp_path / "c.nii.gz").header
    types = {"c": np.uint8, "c_probabilities": np.float32, "c_uncertainty": np.float32}
    for name, dtype in types.items():
        file = nib.load(tmp_path / "out" / f"{name}.nii.gz")
        header = file.header
        assert header.get_data_dtype() == dtype
        np.testing.assert_allclose(header.get_zooms()[:3], SPACING, rtol=1e-6)
        for form in ("sform_code", "qform_code"):
            assert header[form] == source[form]
        np.testing.assert_allclose(header.get_sform(), source.get_sform())
        np.testing.assert_allclose(header.get_qform(), source.get_qform())
        assert header.get_xyzt_units() == ("mm", "sec")
    labels = np.asarray(nib.load(tmp_path / "out" / "c.nii.gz").dataobj)
    maps = np.asarray(nib.load(tmp_path / "out" / "c_probabilities.nii.gz").dataobj)
    assert maps.shape == (20, 23, 4, 3)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(maps.argmax(axis=-1), labels)
    doubt = np.asarray(nib.load(tmp_path / "out" / "c_uncertainty.nii.gz").dataobj)
    assert doubt.shape == labels.shape and doubt.min() >= 0 and doubt.max() <= 1 + 1e-6


def test_channels_go_in_by_their_number(model_of_two_channels, tmp_path):
    first, second = noise(1), noise(2)
    write(tmp_path / "in" / "c_0001.nii.gz", second)
    write(tmp_path / "in" / "c_0000.nii.gz", first)
    (path,) = predict_files(model_of_two_channels, [tmp_path / "in"], tmp_path / "out", PredictOptions())
    net, plan = infer.load_model(model_of_two_channels)
    net = for_inference(net, CPU)
    volume = read_image(tmp_path / "in" / "c_0000.nii.gz")
    images = [replace(volume, array=first), replace(volume, array=second)]
    labels = np.asarray(nib.load(path).dataobj)
    np.testing.assert_array_equal(labels, predict_volume(net, plan, images, CPU).labels)
    assert (labels != predict_volume(net, plan, images[::-1], CPU).labels).any()


def test_a_full_output_folder_is_refused_and_left_alone(model, tmp_path):
    image = write(tmp_path / "c.nii.gz", noise(0))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.nii.gz").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        list(predict_files(model, [image], tmp_path / "out", PredictOptions()))
    assert (tmp_path / "out" / "c.nii.gz").read_text() == "precious"
    list(predict_files(model, [image], tmp_path / "out", PredictOptions(), overwrite=True))
    assert nib.load(tmp_path / "out" / "c.nii.gz").shape == (20, 23, 4)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/c.nii.gz", "b/c.nii.gz"], "two files for case c"),
        (["a/c.nii.gz", "a/c_0000.nii.gz"], "two files for case c"),
        (["a/c.nii.gz", "a/c.nii"], "two files for case c"),
        (["a/c_0000.nii.gz", "a/c_0001.nii.gz"], r"case c has 2 channel\(s\), expected 1"),
    ],
)
def test_inputs_that_do_not_fit_the_model(model, tmp_path, names, message):
    folders = list(dict.fromkeys(write(tmp_path / name, noise(0)).parent for name in names))
    with pytest.raises(InputError, match=message):
        list(predict_files(model, folders, tmp_path / "out", PredictOptions()))
    assert not (tmp_path / "out").exists()


def test_a_number_in_a_name_is_no_channel_where_there_is_no_channel_0(model, tmp_path):
    image = write(tmp_path / "scan_0001.nii.gz", noise(0))
    (path,) = predict_files(model, [image], tmp_path / "out", PredictOptions())
    assert path.name == "scan_0001.nii.gz"


def test_an_image_is_never_replaced_by_its_own_labels(model, tmp_path):
    image = write(tmp_path / "scans" / "c.nii.gz", noise(0))
    before = image.read_bytes()
    with pytest.raises(InputError, match=r"c.nii.gz: an input that its own output would replace"):
        list(predict_files(model, [tmp_path / "scans"], tmp_path / "scans", PredictOptions(), overwrite=True))
    assert image.read_bytes() == before


def test_a_channel_too_few(model_of_two_channels, tmp_path):
    image = write(tmp_path / "c.nii.gz", noise(0))
    with pytest.raises(InputError, match=r"c.nii.gz: case c has 1 channel\(s\), expected 2"):
        list(predict_files(model_of_two_channels, [image], tmp_path / "out", PredictOptions()))


def test_channels_on_different_grids(model_of_two_channels, tmp_path):
    write(tmp_path / "in" / "c_0000.nii.gz", noise(0))
    write(tmp_path / "in" / "c_0001.nii.gz", noise(0, (20, 22, 4)))
    with pytest.raises(InputError, match=r"c_0001.nii.gz: shape"):
        list(predict_files(model_of_two_channels, [tmp_path / "in"], tmp_path / "out", PredictOptions()))


def test_missing_and_empty_inputs(model, tmp_path):
    with pytest.raises(InputError, match=r"nothing.nii.gz: no such file"):
        list(predict_files(model, [tmp_path / "nothing.nii.gz"], tmp_path / "out", PredictOptions()))
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare: no image in this folder"):
        list(predict_files(model, [tmp_path / "bare"], tmp_path / "out", PredictOptions()))
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(InputError, match=r"text.nii.gz: "):
        list(predict_files(model, [tmp_path / "text.nii.gz"], tmp_path / "out", PredictOptions()))


def test_a_volume_of_one_slice_and_of_odd_sides(model, tmp_path):
    for name, shape in {"one": (33, 17, 1), "flat": (17, 21)}.items():
        image = write(tmp_path / f"{name}.nii.gz", noise(0, shape))
        (path,) = predict_files(model, [image], tmp_path / f"out-{name}", PredictOptions())
        assert nib.load(path).shape == (*shape, 1)[:3]


def test_cases_side_by_side_give_what_they_give_alone(model, tmp_path):
    for index in range(5):
        write(tmp_path / "in" / f"c{index}.nii.gz", noise(index, (20 + index, 23, 3)))
    torch.set_num_threads(2)
    try:
        paths = list(predict_files(model, [tmp_path / "in"], tmp_path / "out", PredictOptions()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert [path.name for path in paths] == [f"c{index}.nii.gz" for index in range(5)]
    for path in paths:
        (alone,) = predict_files(
            model, [tmp_path / "in" / path.name], tmp_path / f"alone-{path.name}", PredictOptions()
        )
        assert alone.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("spacing", "told"),
    [((0.11, 0.12, 1), True), ((0.16, 0.13, 1), False), ((14, 12, 20), False), ((16, 12, 20), True)],
)
def test_pixels_far_from_those_trained_on_are_told_of_case_by_case(model, tmp_path, spacing, told):
    for case in ("a", "b"):
        write(tmp_path / "in" / f"{case}.nii.gz", noise(0), spacing)
    lines = []
    list(predict_files(model, [tmp_path / "in"], tmp_path / "out", PredictOptions(), warn=lines.append))
    found = f"pixels of ({spacing[0]:g}, {spacing[1]:g}) mm, expected about (1.5, 1.25) as in training"
    assert [line.split(";")[0] for line in lines] == [f"{tmp_path}/in/{case}.nii.gz: {found}" for case in "ab"] * told


def test_pictures_without_a_spacing_are_told_of_once_where_training_was_on_other_pixels(tmp_path):
    plan = make_plan(spacing=(0.05, 0.05))
    save_model(tmp_path / "model.safetensors", segmentation_net(plan), plan)
    for case in ("a", "b"):
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / f"{case}.png")
    inputs, lines = [tmp_path / "a.png", tmp_path / "b.png"], []
    list(predict_files(tmp_path / "model.safetensors", inputs, tmp_path / "out", PredictOptions(), warn=lines.append))
    assert lines == [
        f"{tmp_path}/a.png: no spacing in it, so 1 mm is assumed, expected pixels of about (0.05, 0.05) mm as in "
        "training; labels are hardly right where pixels are so unlike"
    ]


def predicted_names(out):
    return sorted(path.name for path in out.glob("*.nii.gz")), (out / "summary.csv").read_text().count("\n") // 2


def test_a_damaged_case_is_told_of_at_the_end_and_the_others_have_all(model, tmp_path):
    for index in range(6):
        write(tmp_path / "in" / f"c{index}.nii.gz", noise(index))
    (tmp_path / "in" / "c1.nii.gz").write_text("no image")
    with pytest.raises(InputError, match=r"c1.nii.gz: not a readable image .*expected NIfTI$"):
        list(predict_files(model, [tmp_path / "in"], tmp_path / "out", PredictOptions()))
    names = [f"c{index}.nii.gz" for index in (0, 2, 3, 4, 5)]
    assert predicted_names(tmp_path / "out") == (names, 5)
    assert "5 segmented cases" in (tmp_path / "out" / "index.html").read_text()


def test_a_case_that_fails_after_its_labels_were_written_is_one_line_too(model, tmp_path, monkeypatch):
    def full(*_):
        raise InputError("a.png: No space left on device")

    monkeypatch.setattr("pclmix.infer._seen", full)
    write(tmp_path / "in" / "a.nii.gz", noise(0))
    with pytest.raises(InputError, match="No space left"):
        list(predict_files(model, [tmp_path / "in"], tmp_path / "out", PredictOptions()))
    assert (tmp_path / "out" / "a.nii.gz").exists()


def test_each_of_several_damaged_cases_has_its_line(model, tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / f"{name}.nii.gz", noise(0))
    (tmp_path / "in" / "a.nii.gz").write_text("no image")
    (tmp_path / "in" / "b.png").write_text("no image")
    (tmp_path / "in" / "b.nii.gz").unlink()
    result = CliRunner().invoke(app, ["predict", str(model), str(tmp_path / "in"), str(tmp_path / "out")])
    assert result.exit_code == 2 and result.stdout == f"{tmp_path}/out/c.nii.gz\n"
    first, last = result.stderr.splitlines()
    assert first.startswith(f"warning: {tmp_path}/in/a.nii.gz: not a readable image")
    assert last.startswith(f"pclmix: {tmp_path}/in/b.png: not a readable") and last.endswith("(2 of 3 cases failed)")
    assert predicted_names(tmp_path / "out") == (["c.nii.gz"], 1)


def test_where_no_case_can_be_read_nothing_is_left(model, tmp_path):
    (tmp_path / "a.nii.gz").write_text("no image")
    with pytest.raises(InputError, match="a.nii.gz: "):
        list(predict_files(model, [tmp_path / "a.nii.gz"], tmp_path / "out", PredictOptions()))
    assert not (tmp_path / "out").exists()


def test_a_file_of_many_frames_in_a_folder_is_left_out_and_refused_where_it_is_named(model, tmp_path):
    write(tmp_path / "in" / "p_frame01.nii.gz", noise(0))
    frames = write(tmp_path / "in" / "p_4d.nii.gz", noise(0, (20, 23, 4, 6)))
    told = []
    (path,) = predict_files(model, [tmp_path / "in"], tmp_path / "out", PredictOptions(), warn=told.append)
    assert path.name == "p_frame01.nii.gz"
    (line,) = told
    assert line.startswith(f"{frames}: 4-D, shape (20, 23, 4, 6), expected a 3-D volume: one file a frame, PATIENT_")
    assert line.endswith("; left out")
    with pytest.raises(InputError, match=r"p_4d.nii.gz: 4-D"):
        list(predict_files(model, [frames, tmp_path / "in"], tmp_path / "named", PredictOptions()))
    assert predicted_names(tmp_path / "named") == (["p_frame01.nii.gz"], 1)
    (tmp_path / "in" / "p_frame01.nii.gz").unlink()
    with pytest.raises(InputError, match=r"p_4d.nii.gz: 4-D"):
        list(predict_files(model, [tmp_path / "in"], tmp_path / "alone", PredictOptions()))
