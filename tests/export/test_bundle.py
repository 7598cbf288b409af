"""A bundle gives the labels of `pclmix predict`, in a process that has MONAI and nibabel but no pclmix and no SciPy."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from running_bundles import require_same, run_bundle

from pclmix.errors import InputError
from pclmix.export.bundle import write_bundle
from pclmix.export.bundle_scripts import segmentation
from pclmix.infer import PredictOptions, predict_files
from pclmix.postprocess import keep_largest_components


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return write_bundle(model, tmp_path_factory.mktemp("bundle") / "made")


def test_the_labels_are_those_of_predict(bundle, model, images, tmp_path):
    list(predict_files(model, [images], tmp_path / "ours", PredictOptions()))
    result = run_bundle(bundle, images, tmp_path / "theirs")
    assert result.returncode == 0, result.stderr
    require_same(tmp_path / "theirs", tmp_path / "ours")
    for path in (tmp_path / "ours").glob("*.nii.gz"):
        assert len(np.unique(np.asarray(nib.load(path).dataobj))) > 1


def test_metadata_name_channels_classes_and_versions(bundle):
    meta = json.loads((bundle / "configs" / "metadata.json").read_text())
    data = meta["network_data_format"]
    assert data["inputs"]["image"]["channel_def"] == {"0": "MR", "1": "CT"}
    assert data["outputs"]["probabilities"]["channel_def"] == {"0": "background", "1": "a", "2": "b"}
    for name in ("version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"):
        assert meta[name]


def test_a_full_folder_is_refused(model, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_bundle(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_pieces_are_those_that_predict_keeps(seed):
    mask = np.random.default_rng(seed).random((4, 17, 15)) < 0.12
    kept = segmentation.largest_pieces(torch.from_numpy(mask)).numpy()
    np.testing.assert_array_equal(kept, keep_largest_components(mask.astype(np.uint8), ((1,),)) > 0)


def test_of_equal_pieces_all_are_kept_and_of_none_none():
    mask = torch.zeros(1, 3, 7, dtype=torch.bool)
    assert not segmentation.largest_pieces(mask).any()
    mask[0, 0, 4:] = mask[0, 2, :3] = True
    assert torch.equal(segmentation.largest_pieces(mask), mask)
    mask[0, 2, :2] = False
    assert segmentation.largest_pieces(mask).nonzero()[:, 1].tolist() == [0, 0, 0]


def test_cases_are_found_as_predict_finds_them(tmp_path):
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "scan_0003.nii", ".hidden.nii", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"scan_0003.nii: case scan_0003 has 1 channel\(s\), expected 2"):
        segmentation.find_cases(tmp_path, 2)
    (tmp_path / "scan_0003.nii").unlink()
    files = [str(tmp_path / f"a_000{channel}.nii.gz") for channel in range(2)]
    assert segmentation.find_cases(tmp_path, 2) == [{"case": "a", "image": files}]
    with pytest.raises(ValueError, match="no .nii.gz or .nii file"):
        segmentation.find_cases(tmp_path / "..", 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.nii.gz", "a_0000.nii.gz"), "a_0000.nii.gz: two files for case a, the other is .*a.nii.gz, expected one"),
        (("a.nii", "a.nii.gz"), "a.nii.gz: two files for case a, the other is .*a.nii, expected one"),
        (("a_0000.nii.gz", "a_0002.nii.gz"), r"a_0000.nii.gz: case a has channels \[0, 2\], expected 0 to 1"),
    ],
)
def test_no_file_passes_for_another_channel(model, tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=message):
        segmentation.find_cases(tmp_path, 2)
    with pytest.raises(InputError):
        list(predict_files(model, [tmp_path], tmp_path / "out", PredictOptions()))
