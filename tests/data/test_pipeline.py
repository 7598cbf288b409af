"""Fingerprint, plan, resampling, cache and batches."""

import io
import json
import re
import shutil
import threading
import time

import nibabel as nib
import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import ndimage

from pclmix.config import (
    AugmentSettings,
    Plan,
    PlannerSettings,
    TrainSettings,
    make_settings,
    tree_from_toml,
    tree_to_toml,
)
from pclmix.data import resample
from pclmix.data.batches import BatchSource, prefetch
from pclmix.data.cache import CachedCase, build_cache
from pclmix.data.check import check_dataset, render, require_trainable, storage_warnings
from pclmix.data.fingerprint import CaseFacts, Fingerprint, fingerprint
from pclmix.data.folder import read_dataset, split, unlabelled_cases
from pclmix.data.phantom import make_phantom
from pclmix.data.plan import make_plan
from pclmix.data.resample import preprocess_image, preprocess_label, restore
from pclmix.data.volume import read_image, read_label
from pclmix.errors import InputError
from pclmix.labels import IGNORE


def a_plan(**changes):
    values = {
        "channels": ("MR",),
        "classes": {"background": 0, "RV": 1, "Myo": 2, "LV": 3},
        "spacing": (2.0, 2.0),
        "crop": (48, 64),
        "batch": 4,
        "intensity": ("zscore",),
    }
    return Plan(**(values | changes))


def test_fingerprint_of_the_phantom(phantom):
    dataset = read_dataset(phantom)
    prints = fingerprint(dataset, dataset.cases, PlannerSettings())
    first = prints.cases[0]
    assert first.shape == (8, 128, 128) and first.spacing == (8.0, 1.5, 1.5)
    assert all(count > 0 for count in first.pixels) and len(first.extents) == 6
    assert 20 < first.extents[2][0] < 128 * 1.5
    assert min(first.drawn) > 0 and max(first.drawn) <= 8
    assert first.gaps == (0, 0, 0, 0) and first.marked == 6
    assert first.kinds == {"dense": 0, "scribble": 8, "point": 0, "unlabelled": 0}
    assert json.loads(prints.to_json())["cases"][0]["id"] == first.id


def annotated_otherwise(path, change):
    """Rewrite a label file as `change` has it."""
    file = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asarray(file.dataobj).copy()), file.affine, file.header), path)


def dotted(array):
    """Of each class in each slice one pixel."""
    out = np.full_like(array, 4)
    for index in range(array.shape[-1]):
        for label in range(4):
            places = np.argwhere(array[..., index] == label)
            if len(places):
                out[(*places[0], index)] = label
    return out


def test_kinds_are_counted_and_scribbled_slices_alone_vouch_for_the_strokes(tmp_path):
    folder = make_phantom(tmp_path / "data", 6, 3, scribbled=4)
    shutil.copy(folder / "labelsTr_dense" / "heart001_frame02.nii.gz", folder / "labelsTr")
    annotated_otherwise(folder / "labelsTr" / "heart002_frame01.nii.gz", dotted)

    def two_left_out(array):
        array[..., 2:4] = 4
        return array

    annotated_otherwise(folder / "labelsTr" / "heart002_frame02.nii.gz", two_left_out)
    dataset = read_dataset(folder)
    without = unlabelled_cases(dataset, set())
    prints = fingerprint(dataset, split(dataset, set())[0], PlannerSettings(), without)
    assert [case.id for case in without] == ["heart003_frame01", "heart003_frame02"] and prints.unlabelled == (8, 8)
    counts = [{kind: count for kind, count in case.kinds.items() if count} for case in prints.cases]
    assert counts == [{"scribble": 8}, {"dense": 8}, {"point": 8}, {"scribble": 6, "unlabelled": 2}]
    assert [case.marked for case in prints.cases] == [6, 0, 0, 4]
    for case in prints.cases[1:3]:
        assert case.drawn == case.gaps == (0, 0, 0, 0) and case.rings == 0 and len(case.extents) == 6
    console = Console(file=io.StringIO(), width=120)
    console.print(render(check_dataset(dataset)))
    told = [re.sub(r"\W+", " ", line).strip() for line in console.file.getvalue().splitlines()]
    for line in ("dense 8 1", "scribble 14 2", "point 8 1", "unlabelled in annotated cases 2 1",
                 "unlabelled whole cases 16 2"):  # fmt: skip
        assert line in told
    assert any("2 cases without any label trained on only by methods that use" in line for line in told)


def test_the_plan_keeps_how_the_slices_lie_and_a_set_stored_in_two_ways_is_told_of(phantom, tmp_path):
    def plan_and_warnings(folder):
        dataset = read_dataset(folder)
        prints = fingerprint(dataset, dataset.cases, PlannerSettings())
        told = [line for line in check_dataset(dataset).warnings if "rows and columns" in line]
        assert told == storage_warnings(dataset, prints.cases)
        return make_plan(prints, dataset, make_settings("cpu")), told

    plan, told = plan_and_warnings(phantom)
    assert plan.directions == ((1, 0, 0), (0, 1, 0)) and not told
    folder = shutil.copytree(phantom, tmp_path / "data")
    for path in folder.glob("*/heart001_frame01*"):
        stored = nib.load(path).as_reoriented([[0, -1], [1, 1], [2, -1]])
        nib.save(stored, path)
    plan, (line,) = plan_and_warnings(folder)
    assert plan.directions == ()
    assert "run to RA in most images, but to LA in heart001_frame01;" in line


def test_plan_follows_the_fingerprint_and_the_budget(phantom):
    dataset = read_dataset(phantom)
    prints = fingerprint(dataset, dataset.cases, PlannerSettings())
    plan = make_plan(prints, dataset, make_settings("cpu"))
    assert plan.spacing[0] >= 1.5 and plan.crop[0] * plan.crop[1] <= 96 * 96
    assert plan.crop[0] % 16 == 0 and plan.depth == 5
    small = make_plan(prints, dataset, make_settings("cpu", ("planner.pixels=4096",)))
    assert small.spacing[0] > plan.spacing[0] and small.crop == (64, 64)
    fixed = make_plan(
        prints, dataset, make_settings("cpu", ("planner.spacing=3", "planner.crop=70", "planner.depth=4"))
    )
    assert fixed.spacing == (3, 3) and fixed.crop == (72, 72) and fixed.depth == 4
    overrides = ("planner.spacing=[3, 2]", "planner.crop=[64, 96]", "planner.slice_axis=0", 'planner.intensity=["ct"]')
    fixed = make_settings("cpu", overrides)
    plan = make_plan(fingerprint(dataset, dataset.cases, fixed.planner), dataset, fixed)
    assert (plan.spacing, plan.crop, plan.slice_axis, plan.intensity) == ((3, 2), (64, 96), "0", ("ct",))
    assert len(plan.statistics) == 1
    two = make_settings("cpu", ('planner.intensity=["ct", "zscore"]',))
    with pytest.raises(InputError, match="2 rules, expected 1"):
        make_plan(prints, dataset, two)
    paper = make_plan(prints, dataset, make_settings("paper"))
    assert paper.crop == (224, 224) and paper.batch == 12


class Named:
    channels, classes = ("MR",), {"background": 0, "k": 1}


def test_plan_of_anisotropic_pixels_and_no_foreground():
    facts = CaseFacts("a", (9, 300, 100), (5.0, 0.5, 1.0), (10, 0), (), (2, 0), (0, 0), 0, 0, {})

    plan = make_plan(Fingerprint((facts,)), Named, make_settings("cpu"))
    assert plan.spacing == (0.5, 1.0) and plan.crop == (96, 96)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6])
def test_a_plan_is_the_same_whatever_the_scale_of_its_images(unit):
    """Pixels of 1.3 mm, of 1.3 micrometres and of 1.3 nanometres."""
    sizes, extents = (5 * unit, 1.3 * unit, 1.3 * unit), ((66.6 * unit, 66.6 * unit),)
    facts = CaseFacts("a", (9, 384, 384), sizes, (10, 10), extents, (2, 2), (0, 0), 0, 9, {})
    plan = make_plan(Fingerprint((facts,)), Named, make_settings("cpu"))
    assert plan.spacing == pytest.approx((1.3008 * unit, 1.3008 * unit), rel=1e-9) and plan.crop == (96, 96)
    assert tree_from_toml(Plan, tree_to_toml(plan), "plan") == plan


@pytest.mark.parametrize(("extent", "spacing"), [(40.0, 1.0), (100.0, 250 / 128), (180.0, 3.0)])
def test_a_crop_shows_the_surroundings_but_no_more_than_the_slice(extent, spacing):
    facts = CaseFacts("a", (9, 384, 384), (5.0, 1.0, 1.0), (10, 10), ((extent, extent),), (2, 2), (0, 0), 0, 9, {})
    whole = make_plan(Fingerprint((facts,)), Named, make_settings("cpu", ("planner.pixels=16384", "planner.view=1")))
    assert whole.spacing == pytest.approx((spacing, spacing), abs=1e-4) and whole.crop == (128, 128)
    part = make_plan(Fingerprint((facts,)), Named, make_settings("cpu"))  # three quarters of it, in pixels of that size
    assert part.spacing == whole.spacing and part.crop == (96, 96)


@pytest.mark.parametrize(
    ("drawn", "gaps", "strokes", "complete"),
    [
        ((9, 6), (0, 0), "auto", True),
        ((9, 6), (0, 3), "auto", False),
        ((9, 5), (0, 0), "auto", False),  # 18 slices that lie between two others: too few to believe it
        ((9, 0), (0, 0), "auto", False),  # a class nobody drew says nothing
        ((9, 5), (0, 3), "complete", True),
        ((9, 5), (0, 0), "partial", False),
    ],
)
def test_strokes_without_gaps_count_as_complete(drawn, gaps, strokes, complete):
    facts = CaseFacts("a", (9, 100, 100), (5.0, 1.0, 1.0), (10, 10), ((40.0, 40.0),), drawn, gaps, 0, 9, {})
    settings = make_settings("cpu", (f"planner.strokes={strokes}",))
    assert make_plan(Fingerprint((facts,) * 6), Named, settings).complete_strokes is complete


@pytest.mark.parametrize(
    ("overrides", "mirror", "turn"),
    [
        (("augment.flip=true", "augment.rotation=17"), True, 0),
        (("augment.right_angles=true", "augment.rotation=17"), True, 0),
        (("augment.rotation=17",), False, 13.6),
        (("augment.rotation=180",), False, 20),
        (("planner.turn=0",), False, 0),
        (("planner.turn=30", "augment.flip=true"), True, 30),
    ],
)
def test_averaging_only_over_copies_as_they_were_trained_unless_told(overrides, mirror, turn):
    facts = CaseFacts("a", (9, 100, 100), (5.0, 1.0, 1.0), (10, 10), ((40.0, 40.0),), (1, 1), (0, 0), 0, 1, {})
    plan = make_plan(Fingerprint((facts,)), Named, make_settings("cpu", overrides))
    assert (plan.mirror, plan.turn) == (mirror, turn)


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        ((0.0015, 0.0015), r"pixels of \(0.0015, 0.0015\) mm give slices of 0 x 0 pixels at the plan's \(2, 2\) mm"),
        ((1.5, 0.01), "give slices of 22 x 0 pixels at the plan's"),
        ((1500, 1500), "slices of 22500 x 15000 pixels at .*, 151 GiB; expected .* the 100 GiB of this machine"),
    ],
)
def test_pixels_of_another_unit_are_one_line(tmp_path, monkeypatch, spacing, message):
    monkeypatch.setattr(resample, "memory", lambda: 100 * 2**30)
    nib.save(nib.Nifti1Image(np.zeros((30, 20, 4), np.float32), np.diag([*spacing, 9000, 1])), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=f"^{tmp_path}/a.nii.gz: .*{message}") as error:
        preprocess_image([read_image(tmp_path / "a.nii.gz")], a_plan(slice_axis="2"))
    assert "\n" not in str(error.value)


def test_this_machine_has_memory():
    assert resample.memory() > 2**28


def blob(shape, centre, spacing):
    grids = np.indices(shape).astype(float)
    return np.exp(-sum((((g + 0.5) * s - c) / 12) ** 2 for g, s, c in zip(grids, spacing, centre, strict=True)))


@pytest.mark.parametrize("target", [(1.0, 1.0), (1.7, 2.3), (3.1, 0.8)])
def test_resampling_keeps_places_and_restore_undoes_it(tmp_path, target):
    spacing = (1.3, 1.7)
    plane = blob((70, 60), (40.0, 55.0), spacing)
    array = np.stack([plane, plane], axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 8, 1.0])), tmp_path / "a.nii.gz")
    plan = a_plan(spacing=target)
    slices = preprocess_image([read_image(tmp_path / "a.nii.gz")], plan)
    assert slices.shape[:2] == (2, 1) and slices.dtype == np.float32
    positive = slices[0, 0] - slices[0, 0].min()
    size = (70 * 1.3 / positive.shape[0], 60 * 1.7 / positive.shape[1])
    place = [(c + 0.5) * s for c, s in zip(ndimage.center_of_mass(positive**2), size, strict=True)]
    assert place == pytest.approx([40, 55], abs=0.15)
    back = restore(torch.from_numpy(slices), (70, 60)).numpy()[0, 0]
    expected = (plane - array.mean()) / array.std()
    assert np.abs(back - expected).max() < 0.25 and back.shape == (70, 60)


def test_labels_are_resampled_without_inventing_any(phantom):
    from pclmix.data.folder import read_scribble

    dataset = read_dataset(phantom)
    labels = preprocess_label(read_scribble(dataset, dataset.cases[0]), a_plan())
    assert set(np.unique(labels)) <= {0, 1, 2, 3, IGNORE} and labels.shape == (8, 96, 96)


def test_a_stroke_that_nearest_sampling_would_skip_keeps_its_cell(tmp_path):
    array = np.full((40, 40, 3), IGNORE, np.uint8)
    array[10:30, 10:30] = 0
    array[20, 16, 1] = 2  # nearest sampling at half the resolution takes odd pixels only
    nib.save(nib.Nifti1Image(array, np.diag([0.9, 0.9, 8, 1.0])), tmp_path / "a.nii.gz")
    labels = preprocess_label(read_label(tmp_path / "a.nii.gz"), a_plan(spacing=(1.8, 1.8)))
    assert labels.shape == (3, 20, 20) and np.argwhere(labels == 2).tolist() == [[1, 10, 8]]
    assert (labels[[0, 2]] != 2).all() and (labels[1, 5:15, 5:15] == 0).sum() == 99


def test_ct_is_clipped_and_scaled_by_the_data_set(tmp_path):
    array = np.linspace(-1000, 1000, 5 * 6 * 2).reshape(5, 6, 2).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 8, 1.0])), tmp_path / "a.nii.gz")
    plan = a_plan(intensity=("ct",), clip=((-100, 300),), statistics=((100, 50),))
    slices = preprocess_image([read_image(tmp_path / "a.nii.gz")], plan)
    assert slices.min() == -4 and slices.max() == 4


def test_cases_made_side_by_side_are_those_made_one_by_one(phantom, tmp_path, monkeypatch):
    """Two of them with the same content, which share their files."""
    root = shutil.copytree(phantom, tmp_path / "dataset")
    first, second, *_ = read_dataset(root).cases
    for ours, theirs in ((first.images[0], second.images[0]), (first.label, second.label), (first.dense, second.dense)):
        shutil.copy(ours, theirs)
    dataset = read_dataset(root)
    opened = {}
    for threads in (1, 3):
        monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path / f"cache{threads}"))
        torch.set_num_threads(threads)
        try:
            opened[threads] = build_cache(dataset, dataset.cases, a_plan(), dense=True)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    assert [one.id for one in opened[3]] == [case.id for case in dataset.cases]
    assert opened[3][0].key == opened[3][1].key != opened[3][2].key
    for one, other in zip(opened[1], opened[3], strict=True):
        assert one.key == other.key
        for name in ("image", "label", "dense"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_cache_is_keyed_by_content_and_settings(phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(phantom, tmp_path / "data")
    dataset = read_dataset(folder)
    first = build_cache(dataset, dataset.cases, a_plan())
    assert isinstance(first[0].image, np.memmap) and first[0].image.dtype == np.float16
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
    again = build_cache(dataset, dataset.cases, a_plan())
    assert [c.key for c in again] == [c.key for c in first]
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npy")}
    assert build_cache(dataset, dataset.cases[:1], a_plan(spacing=(3, 3)))[0].key != first[0].key
    label = folder / "labelsTr" / "heart001_frame01.nii.gz"
    label.write_bytes((folder / "labelsTr" / "heart002_frame01.nii.gz").read_bytes())
    changed = build_cache(dataset, dataset.cases, a_plan())
    assert changed[0].key != first[0].key and changed[1].key == first[1].key


@pytest.fixture
def source(phantom):
    dataset = read_dataset(phantom)
    train, _ = split(dataset, set())
    return BatchSource(build_cache(dataset, train, a_plan()), a_plan(), AugmentSettings(), TrainSettings(), 5)


def test_batches_are_a_function_of_seed_and_step(source, phantom):
    once, again = source.batch(7), source.batch(7)
    assert torch.equal(once.image, again.image) and torch.equal(once.scribble, again.scribble)
    assert not torch.equal(once.image, source.batch(8).image)
    other = BatchSource(source.cases, source.plan, source.augment, source.train, 6)
    assert not torch.equal(once.image, other.batch(7).image)


def test_batch_shapes_and_contents(source):
    batch = source.batch(0)
    assert batch.image.shape == (4, 1, 48, 64) and batch.image.dtype == torch.float32
    assert batch.scribble.dtype == torch.int64 and batch.valid.dtype == torch.bool
    assert (batch.scribble[~batch.valid] == IGNORE).all()
    seen = torch.cat([source.batch(step).scribble.flatten() for step in range(10)]).unique().tolist()
    assert seen == [0, 1, 2, 3, IGNORE]
    assert not torch.equal(source.plain_batch(0).image, source.plain_batch(1).image)


def test_an_epoch_visits_every_slice_once(source):
    size = len(source.slices)
    chosen = [place for step in range(-(-size // 4)) for place in source.batch(step).origin.slices.tolist()]
    assert sorted(chosen[:size]) == list(range(size))


@pytest.mark.parametrize("complete", [True, False])
def test_a_class_without_a_stroke_in_its_slice_is_ruled_out_if_strokes_are_complete(complete):
    label = np.full((2, 20, 30), IGNORE, np.uint8)
    label[0, 5, 5:9] = 1
    label[1, 15, 5:9] = 0
    cases = [CachedCase("a", "k", np.ones((2, 1, 20, 30), np.float16), label)]
    plan = a_plan(batch=2, complete_strokes=complete)
    batch = BatchSource(cases, plan, AugmentSettings(), TrainSettings(), 0).plain_batch(0)
    has_stroke = (batch.scribble == 1).flatten(1).any(dim=1)
    expected = [[True, bool(there), False, False] if complete else [True] * 4 for there in has_stroke]
    assert batch.possible.all(dim=(2, 3)).tolist() == expected and has_stroke.sum() == 1
    assert batch.possible.any(dim=(2, 3)).tolist() == expected


def test_beyond_its_ring_a_slice_holds_background_only_and_no_stroke_is_lost():
    label = np.full((2, 60, 60), IGNORE, np.uint8)
    label[:, 20, 20:31] = label[:, 30, 20:31] = label[:, 20:31, 20] = label[:, 20:31, 30] = 0
    label[:, 25, 23:27] = 1
    label[1, 30] = IGNORE
    label[1, 20:31, 30] = IGNORE  # an open corner: the stroke is not surrounded
    label[1, 20:24, 20] = IGNORE
    cases = [CachedCase("a", "k", np.ones((2, 1, 60, 60), np.float16), label)]
    plan = a_plan(batch=2, crop=(48, 64), rings=True)
    batch = BatchSource(cases, plan, AugmentSettings(), TrainSettings(), 0).plain_batch(0)
    ruled_out = ~batch.possible
    assert not ruled_out[:, 0].any() and (batch.scribble == 1).sum() == 8
    surrounded, open_ring = (0, 1) if ruled_out[0].any() else (1, 0)
    assert not ruled_out[open_ring].any()
    share = ruled_out[surrounded, 1][batch.valid[surrounded]].float().mean()
    assert share == pytest.approx(1 - 13**2 / (48 * 60), abs=0.01)
    assert (batch.scribble[surrounded][ruled_out[surrounded, 1]] == IGNORE).all()


def test_rings_of_nearly_all_slices_are_asked_for():
    for rings, expected in ((49, True), (48, False), (0, False)):
        extents = ((40.0, 40.0),) * 80  # thirty of them of slices that are dense or dotted, which make no rings
        facts = CaseFacts("a", (60, 100, 100), (5.0, 1.0, 1.0), (10, 10), extents, (50, 50), (0, 0), rings, 50, {})
        prints = Fingerprint((facts,))
        assert make_plan(prints, Named, make_settings("cpu")).rings is expected
        assert make_plan(prints, Named, make_settings("cpu", ("planner.rings=on",))).rings
        assert not make_plan(prints, Named, make_settings("cpu", ("planner.rings=off",))).rings


def test_slices_smaller_than_the_crop_are_padded_as_invalid():
    label = np.full((2, 20, 30), IGNORE, np.uint8)
    label[:, 5, 5:9] = 1
    cases = [CachedCase("a", "k", np.ones((2, 1, 20, 30), np.float16), label)]
    source = BatchSource(cases, a_plan(batch=2), AugmentSettings(), TrainSettings(), 0)
    batch = source.plain_batch(0)
    assert batch.valid.sum(dim=(1, 2)).tolist() == [600, 600]
    assert (batch.image[:, 0][~batch.valid] == 0).all() and (batch.scribble == 1).sum() == 8


def test_no_annotated_slice_is_an_input_error():
    label = np.full((2, 20, 30), IGNORE, np.uint8)
    with pytest.raises(InputError, match="no slice carries a scribble"):
        BatchSource(
            [CachedCase("a", "k", np.ones((2, 1, 20, 30)), label)], a_plan(), AugmentSettings(), TrainSettings(), 0
        )


def test_prefetch_gives_the_same_in_order_and_passes_errors_on(source):
    got = list(prefetch(source, 3, 8))
    assert [step for step, _ in got] == [3, 4, 5, 6, 7]
    assert all(torch.equal(batch.image, source.batch(step).image) for step, batch in got)
    shared = list(prefetch(source, 3, 8, threads=3))
    assert [step for step, _ in shared] == [3, 4, 5, 6, 7] and list(prefetch(source, 8, 8)) == []
    assert all(torch.equal(a.image, b.image) for (_, a), (_, b) in zip(got, shared, strict=True))
    before = threading.active_count()
    early = prefetch(source, 0, 100, threads=2)
    next(early)
    early.close()
    assert threading.active_count() == before  # what was begun is over, the rest never begins

    class Broken:
        def batch(self, step):
            raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        list(prefetch(Broken(), 0, 2))


def test_check_finds_what_would_break_training(phantom, tmp_path):
    report = check_dataset(read_dataset(phantom))
    assert not report.problems and len(report.facts) == 4
    folder = shutil.copytree(phantom, tmp_path / "data")
    image = nib.load(folder / "imagesTr" / "heart001_frame01_0000.nii.gz")
    nib.save(
        nib.Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine),
        folder / "imagesTr" / "heart001_frame01_0000.nii.gz",
    )
    array = np.asarray(nib.load(folder / "labelsTr" / "heart002_frame01.nii.gz").dataobj).copy()
    array[array == 0] = 4
    array[array == 3] = 4
    nib.save(nib.Nifti1Image(array, image.affine), folder / "labelsTr" / "heart002_frame01.nii.gz")
    dataset = read_dataset(folder)
    report = check_dataset(dataset)
    assert len(report.problems) == 1 and "heart001_frame01" in report.problems[0] and "shape" in report.problems[0]
    assert f"{folder / 'labelsTr'}: no stroke on the background (heart002_frame01)" in report.warnings
    with pytest.raises(InputError, match="shape"):
        require_trainable(dataset)
    shutil.rmtree(folder / "labelsTr")
    assert any("no case with a scribble" in line for line in check_dataset(read_dataset(folder)).problems)
    with pytest.raises(InputError, match="no case with a scribble"):
        require_trainable(read_dataset(folder))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_prefetching_threads_compute_alone_and_leave_training_its_cores(threads):
    seen = []

    class Watching:
        def batch(self, step):
            time.sleep(0.05)  # training has set its own number again: the last one set must not count here
            seen.append(torch.get_num_threads())
            return step

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [step for step, _ in prefetch(Watching(), 0, 3, threads)] == [0, 1, 2]
        assert seen == [1, 1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_crop_swells_round_a_foreground_stroke_or_not_at_all(phantom):
    dataset = read_dataset(phantom)
    plan = make_plan(fingerprint(dataset, dataset.cases, PlannerSettings()), dataset, make_settings("cpu"))
    cached = build_cache(dataset, dataset.cases, plan)
    source = BatchSource(cached, plan, AugmentSettings(swell=0.6), TrainSettings(), 0)
    swollen = 0
    for step in range(4):
        origin = source.batch(step).origin
        for item, place in enumerate(origin.slices.tolist()):
            strokes = source.strokes(place)
            x, y = origin.geometry.centre[item].int().tolist()
            swell = float(origin.geometry.swell[item])
            assert 1 / 1.6 <= swell <= 1.6
            if swell != 1:
                swollen += 1
                assert 0 < strokes[y, x] < IGNORE
            else:
                assert not ((strokes > 0) & (strokes != IGNORE)).any()
    assert swollen > 4 * plan.batch / 2
