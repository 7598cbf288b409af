"""Simulated scribbles: strokes in their own structures, everything drawn, seeded, and alike to the experts'."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from pclmix.cli import app
from pclmix.data.check import check_dataset
from pclmix.data.drawing import ScribbleSettings, case_seed, simulate_scribble
from pclmix.data.folder import read_dataset
from pclmix.data.phantom import make_heart
from pclmix.data.scribble import make_scribbles, stroke_distance, stroke_length, tally
from pclmix.data.strokes import find_ring
from pclmix.data.volume import read_geometry
from pclmix.errors import InputError
from pclmix.labels import IGNORE

SPACING = (1.5, 1.5)
EIGHT = np.ones((3, 3))


def heart(seed=1):
    return np.ascontiguousarray(np.moveaxis(make_heart(seed).truth, -1, 0))


def blobs(classes, seed=0):
    """Five slices of smooth random shapes of any number of classes, some of few pixels; the last slice is empty."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(classes, 5, 60, 70)), (0, 0, 3, 3))
    noise[0] += 0.06
    labels = noise.argmax(axis=0).astype(np.uint8)
    labels[0, 2, 3] = classes - 1
    labels[4] = 0
    return labels


VOLUMES = {"heart": heart(), "two": blobs(2), "six": blobs(6)}
SETTINGS = {
    "default": ScribbleSettings(), "skeleton": ScribbleSettings(curve="skeleton"), "wide": ScribbleSettings(width=3),
    "short": ScribbleSettings(length=0.3), "border": ScribbleSettings(border=0.4),
}  # fmt: skip


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("name", SETTINGS)
def test_strokes_lie_in_their_class_and_every_component_has_one(volume, name):
    dense = VOLUMES[volume]
    scribble = simulate_scribble(dense, SPACING, SETTINGS[name], (0, 1))
    drawn = scribble != IGNORE
    assert scribble.dtype == np.uint8 and (scribble[drawn] == dense[drawn]).all() and drawn.mean() < 0.5
    for label in range(1, dense.max() + 1):
        for part, strokes in zip(dense == label, scribble == label, strict=True):
            numbered, count = ndimage.label(part, EIGHT)
            assert set(numbered[strokes].tolist()) == set(range(1, count + 1))


@pytest.mark.parametrize("seed", range(4))
def test_background_strokes_surround_all_structures(seed):
    dense = heart(seed)
    scribble = simulate_scribble(dense, SPACING, ScribbleSettings(), (seed,))
    for labels, strokes in zip(dense, scribble, strict=True):
        assert (strokes == 0).any()  # in a slice without structures too
        if labels.any():
            everything = np.where(labels > 0, labels, strokes)
            assert find_ring(everything.astype(np.uint8), SPACING) is not None
    without = simulate_scribble(dense, SPACING, ScribbleSettings(background=False), (seed,))
    assert not (without == 0).any()


def test_the_seed_and_the_slice_decide_alone():
    dense, settings = heart(), ScribbleSettings(border=0.3)
    first = simulate_scribble(dense, SPACING, settings, case_seed(3, "a"))
    before = dense.copy()
    np.testing.assert_array_equal(first, simulate_scribble(dense, SPACING, settings, case_seed(3, "a")))
    np.testing.assert_array_equal(dense, before)
    for other in (case_seed(4, "a"), case_seed(3, "b")):
        assert (first != simulate_scribble(dense, SPACING, settings, other)).any()


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_border_adds_outermost_pixels_of_the_structures_alone(share):
    dense = heart()
    plain, more = (simulate_scribble(dense, SPACING, ScribbleSettings(border=b), (5,)) for b in (0.0, share))
    outermost = np.zeros(dense.shape, bool)
    for label in (1, 2, 3):
        for index, part in enumerate(dense == label):
            outermost[index] |= part & ~ndimage.binary_erosion(part)
    added = plain != more
    assert (plain[added] == IGNORE).all() and (more[added] == dense[added]).all() and not (added & ~outermost).any()
    assert (outermost & (more != IGNORE)).sum() / outermost.sum() == pytest.approx(share, abs=0.06)


def test_a_ring_is_drawn_most_of_the_way_round_and_length_keeps_a_share():
    y, x = np.indices((1, 64, 64))[1:] - 32.0
    dense = ((np.hypot(y, x) < 20) & (np.hypot(y, x) >= 12)).astype(np.uint8)
    lengths = {}
    for share in (1.0, 0.5):
        settings = ScribbleSettings(length=share, background=False)
        strokes = simulate_scribble(dense, (1.0, 1.0), settings, (0,)) == 1
        lengths[share] = stroke_length(strokes[0], (1.0, 1.0))
        if share == 1:
            angles = np.degrees(np.arctan2(y[strokes], x[strokes])) // 10
            assert len(set(angles)) >= 33 and np.abs(np.hypot(y, x)[strokes] - 16).max() < 2.5
    assert lengths[1.0] == pytest.approx(2 * np.pi * 16, rel=0.12)
    assert lengths[0.5] / lengths[1.0] == pytest.approx(0.5, abs=0.06)


def test_one_pixel_a_whole_slice_and_nothing_at_all():
    dense = np.zeros((3, 20, 20), np.uint8)
    dense[0, 0, 19] = 1
    dense[1] = 1
    scribble = simulate_scribble(dense, (1.0, 1.0), ScribbleSettings(), (0,))
    assert scribble[0, 0, 19] == 1 and (scribble[1] == 1).any() and not (scribble[1] == 0).any()
    empty = simulate_scribble(np.zeros((1, 20, 20), np.uint8), (1.0, 1.0), ScribbleSettings(), (0,))
    assert set(np.unique(empty)) == {0, IGNORE}


def test_lengths_and_distances_by_hand():
    a, b = np.zeros((2, 12, 12), bool)
    a[2, 1:11] = b[5, 1:11] = True
    assert stroke_length(a, (2.0, 0.5)) == pytest.approx(4.5)
    assert stroke_length(np.eye(12, dtype=bool), (3.0, 4.0)) == pytest.approx(55.0)
    assert stroke_distance(a, b, (2.0, 0.5)) == pytest.approx(6.0)
    dense = np.zeros((1, 12, 12), np.uint8)
    dense[0, 2, :6] = 1
    counts = tally(np.where(a, 1, IGNORE).astype(np.uint8)[None], dense, (2.0, 0.5), 2)
    assert counts.pixels.tolist() == [0, 10] and counts.agreeing.tolist() == [0, 5]
    assert counts.missing.tolist() == [1, 0] and (counts + counts).voxels == 288


def invoke(*arguments):
    return CliRunner().invoke(app, ["scribble", *map(str, arguments)], env={"COLUMNS": "120"})


def refused(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("pclmix: ")
    return result.stderr


def test_a_dataset_folder_becomes_one_that_can_be_trained_on(phantom, tmp_path):
    import shutil

    data = shutil.copytree(phantom, tmp_path / "data")
    shutil.rmtree(data / "labelsTr")
    result = invoke(data, data / "labelsTr", "--compare", phantom / "labelsTr")
    assert result.exit_code == 0, result.output
    assert "Myo" in result.stdout and "experts" in result.stdout and result.stdout.endswith("4 cases\n")
    report = check_dataset(read_dataset(data))
    assert not report.problems and all(facts.rings == len(facts.extents) for facts in report.facts)
    assert not any(gap for facts in report.facts for gap in facts.gaps[1:])


def test_a_folder_of_label_files_in_any_company(phantom, tmp_path):
    """A plain folder gives what the dataset folder gives; a case alone is drawn as among others."""
    dense = tmp_path / "dense"
    dense.mkdir()
    for path in (phantom / "labelsTr_dense").iterdir():
        (dense / path.name.replace(".nii", "_gt.nii")).write_bytes(path.read_bytes())
    report = make_scribbles(dense, tmp_path / "all", ScribbleSettings(), seed=2)
    make_scribbles(phantom, tmp_path / "data", ScribbleSettings(), seed=2)
    assert report.classes == ("0", "1", "2", "3") and (report.drawn.agreeing == report.drawn.pixels).all()
    paths = sorted((tmp_path / "all").iterdir())
    for path in sorted(dense.iterdir())[1:]:
        path.unlink()
    make_scribbles(dense, tmp_path / "one", ScribbleSettings(), seed=2)
    (alone,) = (tmp_path / "one").iterdir()
    assert alone.name == paths[0].name and alone.read_bytes() == paths[0].read_bytes()
    for path in paths:
        assert path.read_bytes() == (tmp_path / "data" / path.name).read_bytes()
        assert read_geometry(path)[0] == read_geometry(phantom / "labelsTr_dense" / path.name)[0]
        assert nib.load(path).header.get_zooms() == pytest.approx((1.5, 1.5, 8.0))


def test_bad_input_is_one_line_with_exit_code_2(phantom, tmp_path):
    dense, out, other = phantom / "labelsTr_dense", tmp_path / "out", tmp_path / "other"
    other.mkdir()
    assert "no label file" in refused(other, out)
    assert "cannot read" in refused(tmp_path / "nowhere", out)
    assert "files there that are read" in refused(dense, dense, "--overwrite")
    assert "no such folder" in refused(dense, out, "--compare", tmp_path / "nowhere")
    assert "found no scribble of heart001" in refused(dense, out, "--compare", other)
    for flag, value in (("--width", 0), ("--length", 0), ("--border", 2), ("--curve", "line")):
        assert f"{flag[2:]}: found" in refused(dense, out, flag, value)
    nib.save(nib.Nifti1Image(np.full((4, 4, 2), 0.5, np.float32), np.eye(4)), other / "a.nii.gz")
    assert "no small integers" in refused(other, out)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), other / "a.nii.gz")
    assert "label 0 alone" in refused(other, out)
    nib.save(nib.Nifti1Image(np.full((4, 4, 2), -1, np.int16), np.eye(4)), other / "a.nii.gz")
    assert "label -1, expected 0" in refused(other, out)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    assert "not empty" in refused(dense, out)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="length: found 1.5, expected a share"):
        ScribbleSettings(length=1.5)


@pytest.mark.real_data
def test_figures_are_near_the_experts_on_acdc(real_data, tmp_path):
    dense = tmp_path / "dense"
    dense.mkdir()
    for path in sorted((real_data / "acdc" / "training").glob("*/*_gt.nii.gz"))[::16]:
        (dense / path.name).symlink_to(path)
    report = make_scribbles(dense, tmp_path / "out", ScribbleSettings(), compare=real_data / "acdc" / "scribbles")
    assert (report.drawn.agreeing == report.drawn.pixels).all() and not report.drawn.missing.any()
    assert report.real is not None and (report.real.agreeing / report.real.pixels > 0.99).all()
    assert (np.abs(np.log(report.drawn.pixels / report.real.pixels)) < np.log(1.5)).all()
    assert all(np.mean(apart) < limit for apart, limit in zip(report.distances, (10, 4, 4, 4), strict=True))
