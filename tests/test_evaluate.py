"""Scoring folders: matching by case id, true spacing, summaries, and inputs that are wrong."""

import csv
import io
import json
import math

import nibabel as nib
import numpy as np
import pytest
from medpy.metric import binary
from rich.console import Console

from pclmix.errors import InputError
from pclmix.evaluate import (
    Score,
    case_id,
    evaluate_case,
    evaluate_folders,
    render,
    summarise,
    to_json,
    write_csv,
    write_json,
)

SPACING = (1.5, 1.0, 8.0)


def write(path, array, spacing=SPACING, affine=None, dtype=np.uint8):
    """A label file; with `affine` its sform is that, whatever the voxel size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array.astype(dtype), np.diag([*spacing, 1.0]))
    if affine is not None:
        image = nib.Nifti1Image(array.astype(dtype), affine)
        image.header.set_zooms(spacing)
    nib.save(image, path)
    return path


def labels(shift=0, classes=(1, 2)):
    array = np.zeros((16, 16, 4), np.uint8)
    if 1 in classes:
        array[2 + shift : 8 + shift, 2:8, 1:3] = 1
    if 2 in classes:
        array[10:14, 10:14, 1:3] = 2
    return array


@pytest.fixture
def folders(tmp_path):
    """Two cases: the first right in class 2 and one row (1.5 mm) off in class 1, the second without class 2."""
    truth, predictions = tmp_path / "truth", tmp_path / "predictions"
    write(truth / "p1_gt.nii.gz", labels())
    write(predictions / "p1.nii.gz", labels(shift=1))
    write(truth / "p2_gt.nii.gz", labels())
    write(predictions / "p2.nii.gz", labels(classes=(1,)))
    return predictions, truth


def test_scores_and_summaries(folders):
    result = evaluate_folders(*folders)
    assert list(result.cases) == ["p1", "p2"]
    off = result.cases["p1"][1]
    assert off.dice == pytest.approx(2 * 60 / 144)
    assert off.hd95 == pytest.approx(1.5)
    assert result.cases["p1"][2] == Score(1.0, 0.0)
    assert result.cases["p2"][2] == Score(0.0, math.inf)
    one, two = result.classes[1], result.classes[2]
    assert one.dice == pytest.approx((off.dice + 1) / 2) and one.hd95 == pytest.approx(0.75) and one.infinite == 0
    assert (two.dice, two.hd95, two.infinite) == (0.5, 0.0, 1)  # the infinite distance is counted, not averaged
    assert result.mean.dice == pytest.approx((one.dice + 0.5) / 2)
    assert result.mean.hd95 == pytest.approx(0.375)
    assert result.mean.infinite == 1
    assert result.worst == ("p2", "p1")


def test_json_has_the_documented_keys_and_null_for_what_is_not_finite(folders, tmp_path):
    path = tmp_path / "scores.json"
    write_json(evaluate_folders(*folders), path)
    text = path.read_text()
    assert "Infinity" not in text and "NaN" not in text
    tree = json.loads(text)
    assert tree["classes"]["2"]["dice"] == 0.5
    assert tree["classes"]["2"]["infinite"] == 1
    assert tree["mean"]["infinite"] == 1 and tree["mean"]["hd95"] == pytest.approx(0.375)
    assert tree["cases"]["p2"]["2"] == {"dice": 0.0, "hd95": None}
    assert tree["cases"]["p1"]["1"]["hd95"] == pytest.approx(1.5)


def test_a_class_nobody_found_has_no_mean_distance():
    tree = to_json(summarise({"a": {1: Score(0.0, math.inf)}}))
    assert tree["classes"]["1"]["hd95"] is None and tree["classes"]["1"]["infinite"] == 1
    assert tree["classes"]["1"]["dice"] == 0.0


def test_a_class_of_infinite_distances_is_left_out_of_the_mean():
    scores = {case: {1: Score(1.0, 2.0), 2: Score(0.0, math.inf)} for case in ("a", "b")}
    mean = summarise(scores).mean
    assert (mean.dice, mean.hd95, mean.infinite) == (0.5, 2.0, 2)


def test_csv_has_a_line_a_case_and_class(folders, tmp_path):
    path = tmp_path / "scores.csv"
    write_csv(evaluate_folders(*folders), path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["label"]) for row in rows] == [("p1", "1"), ("p1", "2"), ("p2", "1"), ("p2", "2")]
    assert float(rows[0]["dice"]) == pytest.approx(2 * 60 / 144, abs=1e-6)
    assert rows[3]["hd95_mm"] == "inf"


def test_the_table_shows_the_figures_the_infinite_and_the_worst_case(folders):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(evaluate_folders(*folders), "validation"))
    text = console.export_text()
    for expected in ("validation", "0.9167", "0.5000", "infinite", "2 cases", "worst: p2 (0.500)"):
        assert expected in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case_0000.nii.gz", "case"),
        ("case_gt.nii.gz", "case"),
        ("case_pred.nii", "case"),
        ("case_manual.nii.gz", "case"),
        ("case_0001.nii.gz", "case_0001"),
        ("patient001_frame01.nii.gz", "patient001_frame01"),
        ("target.nii.gz", "target"),
        ("a.b_gt.nii.gz", "a.b"),
    ],
)
def test_case_ids(tmp_path, name, expected):
    assert case_id(tmp_path / name) == expected


@pytest.mark.parametrize("ours", ["p1_0000.nii.gz", "p1_pred.nii.gz", "p1.nii"])
@pytest.mark.parametrize("theirs", ["p1_manual.nii.gz", "p1_gt.nii"])
def test_suffixes_do_not_matter(tmp_path, ours, theirs):
    write(tmp_path / "predictions" / ours, labels())
    write(tmp_path / "truth" / theirs, labels())
    assert evaluate_folders(tmp_path / "predictions", tmp_path / "truth").mean.dice == 1.0


def test_predictions_without_truth_and_maps_beside_them_are_left_alone(folders):
    predictions, truth = folders
    before = evaluate_folders(predictions, truth)
    write(predictions / "unseen.nii.gz", labels() * 9)
    write(predictions / "p1_uncertainty.nii.gz", labels() * 0.5, dtype=np.float32)
    write(predictions / "p1_probabilities.nii.gz", np.zeros((16, 16, 4, 3)), dtype=np.float32)
    (predictions / "notes.txt").write_text("not a label")
    assert evaluate_folders(predictions, truth) == before


def test_distances_are_in_mm_by_the_voxel_size_though_the_affine_says_one_mm(tmp_path):
    """As in all ACDC images: a sform of unit scale and the true spacing in pixdim."""
    write(tmp_path / "predictions" / "p.nii.gz", labels(shift=1), affine=np.eye(4))
    write(tmp_path / "truth" / "p.nii.gz", labels())
    assert evaluate_folders(tmp_path / "predictions", tmp_path / "truth").cases["p"][1].hd95 == pytest.approx(1.5)
    write(tmp_path / "truth" / "p.nii.gz", labels(), affine=np.eye(4))
    assert evaluate_folders(tmp_path / "predictions", tmp_path / "truth").cases["p"][1].hd95 == pytest.approx(1.5)


def test_both_empty_is_a_full_score(tmp_path):
    scores = evaluate_case(labels(classes=(1,)), labels(classes=(1,)), SPACING, (1, 2))
    assert scores == {1: Score(1.0, 0.0), 2: Score(1.0, 0.0)}


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_volume_is_scored_as_its_classes_are_alone(order):
    """Cut to the box of all structures, and turned over where it lies in memory as files have it."""
    random = np.random.default_rng(0)
    ours, truth = np.zeros((2, 12, 14, 6), np.uint8)
    ours[3:9, 2:9], truth[4:10, 3:9] = random.integers(0, 3, (6, 7, 6)), random.integers(0, 3, (6, 6, 6))
    scores = evaluate_case(np.asarray(ours, order=order), np.asarray(truth, order=order), SPACING, (1, 2, 3))
    for label in (1, 2):
        assert scores[label].dice == pytest.approx(binary.dc(ours == label, truth == label), abs=1e-12)
        expected = binary.hd95(ours == label, truth == label, voxelspacing=SPACING)
        assert scores[label].hd95 == pytest.approx(expected, abs=1e-6)
    assert scores[3] == Score(1.0, 0.0)


def disc(row, column=100):
    rows, columns = np.ogrid[:200, :180]
    return ((rows - row) ** 2 + (columns - column) ** 2 <= 60**2).astype(np.uint8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_image_of_one_slice_is_measured_in_its_plane(axis, order):
    """In 3-D every pixel would be surface, most of them at distance 0 of one another."""
    ours, truth, spacing = disc(94), disc(100), (0.5, 0.8)
    flat = [np.asarray(np.expand_dims(mask, axis), order=order) for mask in (ours, truth)]
    score = evaluate_case(*flat, (*spacing[:axis], 9.0, *spacing[axis:]), (1, 2))
    assert score[1].hd95 == pytest.approx(binary.hd95(ours, truth, voxelspacing=spacing), abs=1e-6)
    assert score[1].hd95 == pytest.approx(6 * 0.5, abs=0.1)
    assert score[1].dice == pytest.approx(binary.dc(ours, truth), abs=1e-12)
    assert score[2] == Score(1.0, 0.0)


def test_a_structure_in_one_slice_of_a_volume_is_measured_in_3d():
    ours, truth = np.zeros((2, 200, 180, 3), np.uint8)
    ours[..., 1], truth[..., 1] = disc(94), disc(100)
    expected = binary.hd95(ours, truth, voxelspacing=SPACING)
    assert evaluate_case(ours, truth, SPACING, (1,))[1].hd95 == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (1, 5, 1), (5, 1, 1)])
def test_a_line_of_voxels_and_a_single_one_have_scores(shape):
    whole, part = np.ones(shape, np.uint8), np.zeros(shape, np.uint8)
    part[0, 0, 0] = 1
    assert evaluate_case(whole, whole, SPACING, (1,)) == {1: Score(1.0, 0.0)}
    assert math.isfinite(evaluate_case(whole, part, SPACING, (1,))[1].hd95)
    assert evaluate_case(whole, part * 0, SPACING, (1,)) == {1: Score(0.0, math.inf)}


def test_a_class_in_neither_file_of_a_case_has_a_full_score_there(tmp_path):
    for folder in ("predictions", "truth"):
        write(tmp_path / folder / "a.nii.gz", labels())
        write(tmp_path / folder / "b.nii.gz", labels(classes=(1,)))
    assert evaluate_folders(tmp_path / "predictions", tmp_path / "truth").cases["b"][2] == Score(1.0, 0.0)


def test_a_class_that_no_truth_holds_counts_and_is_told_of(folders):
    """Dice 0 and an infinite distance where it was predicted, a full score in the other case, as of any class."""
    predictions, truth = folders
    before = evaluate_folders(predictions, truth)
    array = labels(classes=(1,))
    array[0, 0, 0] = 7
    write(predictions / "p2.nii.gz", array)
    told = []
    result = evaluate_folders(predictions, truth, warn=told.append)
    assert told == [
        f"{predictions / 'p2.nii.gz'}: label 7, which no truth holds; it counts as a class, with Dice 0 in 1 of 2 cases"
    ]
    assert result.cases["p2"][7] == Score(0.0, math.inf) and result.cases["p1"][7] == Score(1.0, 0.0)
    assert (result.classes[7].dice, result.classes[7].infinite) == (0.5, 1)
    assert {label: result.classes[label] for label in (1, 2)} == before.classes
    assert result.mean.dice == pytest.approx((2 * before.mean.dice + 0.5) / 3)
    assert evaluate_folders(predictions, truth) == result


def test_permuting_the_cases_permutes_the_result(folders):
    result = evaluate_folders(*folders)
    turned = summarise(dict(reversed(result.cases.items())))
    assert (turned.classes, turned.mean, turned.worst) == (result.classes, result.mean, result.worst)


def spoil_missing(predictions, truth):
    (predictions / "p2.nii.gz").unlink()
    return "p2_gt.nii.gz: no prediction"


def spoil_label(predictions, truth):
    array = labels().astype(np.int16)
    array[0, 0, 0] = -7
    write(predictions / "p2.nii.gz", array, dtype=np.int16)
    return "predictions/p2.nii.gz: label -7"


def spoil_shape(predictions, truth):
    write(predictions / "p2.nii.gz", labels()[:-1])
    return r"predictions/p2.nii.gz: shape \(15, 16, 4\), expected \(16, 16, 4\)"


def spoil_spacing(predictions, truth):
    write(predictions / "p2.nii.gz", labels(), spacing=(1.5, 1.2, 8.0))
    return "predictions/p2.nii.gz: spacing"


def spoil_direction(predictions, truth):
    write(predictions / "p2.nii.gz", labels(), affine=np.diag([-1.5, 1.0, 8.0, 1.0]))
    return "predictions/p2.nii.gz: axis directions"


def spoil_fractions(predictions, truth):
    write(predictions / "p2.nii.gz", labels() * 0.3, dtype=np.float32)
    return "predictions/p2.nii.gz: label values"


def spoil_bytes(predictions, truth):
    path = truth / "p2_gt.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    return "truth/p2_gt.nii.gz: "


def spoil_twice(predictions, truth):
    write(predictions / "p2_pred.nii.gz", labels())
    return "p2_pred.nii.gz: two files for case p2"


def spoil_empty_truth(predictions, truth):
    for path in truth.iterdir():
        path.unlink()
    return "truth: no label file"


def spoil_background_only(predictions, truth):
    for path in truth.iterdir():
        write(path, labels() * 0)
    return "truth: no label above 0"


def spoil_no_folder(predictions, truth):
    for path in predictions.iterdir():
        path.unlink()
    predictions.rmdir()
    return "predictions: "


SPOILS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILS)
def test_wrong_input_is_named_in_one_line(folders, spoil):
    expected = spoil(*folders)
    with pytest.raises(InputError, match=expected) as error:
        evaluate_folders(*folders)
    assert "\n" not in str(error.value) and "expected" in str(error.value)


@pytest.mark.real_data
def test_real_truth_against_itself(real_data, tmp_path):
    """A prediction keeps its image's header; in ACDC that header and the truth's must count as one grid."""
    for source in sorted((real_data / "acdc" / "training" / "patient021").glob("*_gt.nii.gz")):
        array = np.asarray(nib.load(source).dataobj)
        like = nib.load(source.with_name(source.name.replace("_gt", "")))
        (tmp_path / "truth").mkdir(exist_ok=True)
        (tmp_path / "truth" / source.name).write_bytes(source.read_bytes())
        header = like.header.copy()
        header.set_data_dtype(np.uint8)
        (tmp_path / "predictions").mkdir(exist_ok=True)
        nib.save(
            nib.Nifti1Image(array.astype(np.uint8), None, header),
            tmp_path / "predictions" / like.get_filename().rsplit("/", 1)[-1],
        )
    result = evaluate_folders(tmp_path / "predictions", tmp_path / "truth")
    assert len(result.cases) == 2 and sorted(result.classes) == [1, 2, 3]
    assert (result.mean.dice, result.mean.hd95, result.mean.infinite) == (1.0, 0.0, 0)
