"""Importers: what they make, what they refuse, and that nothing half made is left."""

import os

import nibabel as nib
import numpy as np
import pytest

from pclmix.data.folder import read_dataset, read_dense, read_scribble
from pclmix.data.importers.acdc import import_acdc
from pclmix.data.importers.folder import import_folder, inspect_folder, parse_classes
from pclmix.data.importers.mscmr import import_mscmr
from pclmix.data.importers.wsl4mis import import_wsl4mis
from pclmix.errors import InputError
from pclmix.labels import IGNORE


def save(path, array, spacing=(1.5, 1.5, 8.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def image():
    return np.random.default_rng(0).normal(size=(6, 7, 3)).astype(np.float32)


def label(values):
    array = np.full((6, 7, 3), values[0], np.uint8)
    array.reshape(-1)[: len(values)] = values
    return array


def acdc(root, nested):
    for patient in ("patient021", "patient022"):
        middle = patient if nested else ""
        save(root / "training" / middle / f"{patient}_frame01.nii.gz", image())
        save(root / "training" / middle / f"{patient}_frame01_gt.nii.gz", label([0, 1, 2, 3]))
        save(root / "scribbles" / middle / f"{patient}_frame01_scribble.nii.gz", label([4, 0, 1, 2, 3]))
    return root


@pytest.mark.parametrize("nested", [True, False])
def test_acdc_nested_or_flat(tmp_path, nested):
    root = acdc(tmp_path, nested)
    report = import_acdc(root / "training", root / "scribbles", tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert report.cases == 2 and [c.patient for c in dataset.cases] == ["patient021", "patient022"]
    assert (read_scribble(dataset, dataset.cases[0]).array == IGNORE).sum() == 6 * 7 * 3 - 4
    assert read_dense(dataset, dataset.cases[0]).array.max() == 3 and not dataset.warnings


def test_acdc_refuses_bad_input_and_leaves_nothing(tmp_path):
    root = acdc(tmp_path / "in", True)
    out = tmp_path / "out"
    save(root / "scribbles" / "patient023_frame01_scribble.nii.gz", label([4]))
    with pytest.raises(InputError, match="without its image"):
        import_acdc(root / "training", root / "scribbles", out)
    (root / "scribbles" / "patient023_frame01_scribble.nii.gz").unlink()
    save(root / "scribbles" / "patient021" / "patient021_frame01_scribble.nii.gz", label([4, 9]))
    with pytest.raises(InputError, match="label 9, expected 0-4"):
        import_acdc(root / "training", root / "scribbles", out)
    with pytest.raises(InputError, match="nowhere: cannot read"):
        import_acdc(tmp_path / "nowhere", root / "scribbles", out)
    save(root / "scribbles" / "patient021" / "patient021_frame01_scribble.nii.gz", label([4, 0]))
    save(root / "training" / "patient021" / "patient021_frame01_gt.nii.gz", label([0, 4]))
    with pytest.raises(InputError, match="label 4, expected 0-3"):
        import_acdc(root / "training", root / "scribbles", out)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_that_is_not_empty_is_refused_and_kept(tmp_path):
    root = acdc(tmp_path / "in", True)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"not empty|not replaced"):
            import_acdc(root / "training", root / "scribbles", out, overwrite=overwrite)
    assert (out / "thesis.txt").read_text() == "mine"
    (out / "thesis.txt").unlink()
    import_acdc(root / "training", root / "scribbles", out)
    import_acdc(root / "training", root / "scribbles", out, overwrite=True)


def test_nothing_is_left_out_without_a_word(tmp_path):
    root = acdc(tmp_path / "in", True)
    (root / "training" / "patient021").rename(tmp_path / "elsewhere")
    (root / "training" / "patient021").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(root / "training")  # a way round in a circle
    (tmp_path / "elsewhere" / "._patient021_frame01.nii.gz").write_bytes(b"left by a file manager")
    assert import_acdc(root / "training", root / "scribbles", tmp_path / "out").cases == 2


def test_an_import_into_this_folder(tmp_path, monkeypatch):
    root = acdc(tmp_path / "in", True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for overwrite in (False, True):
        import_acdc(root / "training", root / "scribbles", ".", overwrite=overwrite)
        assert os.path.exists("dataset.json") and not list(tmp_path.glob(".*"))


def test_mscmr(tmp_path):
    root = tmp_path / "mscmr"
    save(root / "train/images/subject1_DE.nii.gz", image())
    save(root / "train/labels/subject1_DE_scribble.nii.gz", label([4, 0, 1, 2, 3]))
    save(root / "val/images/subject2_DE.nii.gz", image())
    save(root / "val/labels/subject2_DE_manual.nii.gz", label([0, 1, 2, 3]))
    import_mscmr(root, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert dataset.val_cases == ("subject2_DE",) and dataset.cases[1].label is None and dataset.cases[1].dense
    save(root / "train/images/subject3_DE.nii.gz", image())
    report = import_mscmr(root, tmp_path / "another")
    assert any("subject3_DE.nii.gz: no scribble, so it is unlabelled" in line for line in report.warnings)
    save(root / "train/labels/subject1_DE_scribble.nii", label([4, 0, 1, 2, 3]))
    with pytest.raises(InputError, match="two files for case subject1_DE"):
        import_mscmr(root, tmp_path / "third")


def test_wsl4mis_volumes_slices_and_spacing(tmp_path):
    h5py = pytest.importorskip("h5py")
    root = tmp_path / "h5"
    for name in ("ACDC_training_volumes", "ACDC_training_slices"):
        (root / name).mkdir(parents=True)
    arrays = {"image": image().T, "label": label([0, 3]).T, "scribble": label([4, 3]).T.astype(np.uint16)}
    with h5py.File(root / "ACDC_training_volumes" / "patient021_frame01.h5", "w") as file:
        for key, array in arrays.items():
            file[key] = array
    for index in range(3):
        with h5py.File(root / "ACDC_training_slices" / f"patient022_frame01_slice_{index}.h5", "w") as file:
            for key, array in arrays.items():
                file[key] = array[index]
    import_wsl4mis(root, tmp_path / "out", spacing="10,1.5,1.25")
    dataset = read_dataset(tmp_path / "out")
    volume, again = (read_scribble(dataset, case) for case in dataset.cases)
    assert volume.geometry.spacing == pytest.approx((1.5, 1.25, 10)) and volume.array.shape == (7, 6, 3)
    assert np.array_equal(volume.array, again.array)
    table = tmp_path / "spacing.csv"
    table.write_text("patient021_frame01,9,1,1\n")
    with pytest.raises(InputError, match="no line patient022_frame01"):
        import_wsl4mis(root, tmp_path / "other", spacing=str(table))
    for spacing in ("10", "10,nan,1.5", "10,0,1.5"):
        with pytest.raises(InputError, match="expected Z,Y,X"):
            import_wsl4mis(root, tmp_path / "other", spacing=spacing)
    table.write_bytes(b"patient021_frame01,9,1,1\xff\n")
    with pytest.raises(InputError, match="spacing.csv: cannot read"):
        import_wsl4mis(root, tmp_path / "other", spacing=str(table))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scribble": None}, "slice_1.h5: image, label of shape"),
        ({"image": image().T[0, :-1], "label": None, "scribble": None}, "slice_1.h5: image of shape"),
        ({"scribble": np.full((7, 6), 1.7)}, "scribble holds 1.7, expected 0-4"),
        ({"label": np.full((7, 6), 4)}, "label holds 4, expected 0-3"),
        ({"image": np.zeros((0, 6)), "label": None, "scribble": None}, r"image of shape \(0, 6\)"),
    ],
)
def test_wsl4mis_slices_that_do_not_fit(tmp_path, changes, message):
    h5py = pytest.importorskip("h5py")
    folder = tmp_path / "h5" / "ACDC_training_slices"
    folder.mkdir(parents=True)
    whole = {"image": image().T[0], "label": label([0, 3]).T[0], "scribble": label([4, 3]).T[0]}
    for index, part in enumerate((whole, whole | changes)):
        with h5py.File(folder / f"patient021_frame01_slice_{index}.h5", "w") as file:
            for key, array in part.items():
                if array is not None:
                    file[key] = array
    with pytest.raises(InputError, match=message):
        import_wsl4mis(tmp_path / "h5", tmp_path / "out", spacing="10,1,1")


def mine(tmp_path, values=(0, 1, 2, 3), name="a"):
    save(tmp_path / "images" / f"{name}.nii.gz", image())
    save(tmp_path / "labels" / f"{name}.nii.gz", label(list(values)))
    return tmp_path / "images", tmp_path / "labels"


def test_folder_from_a_painting_tool(tmp_path):
    images, labels = mine(tmp_path)
    classes = parse_classes("liver=1, tumour=3")
    report = import_folder(images, labels, tmp_path / "out", classes=classes, unlabelled=0, background=2)
    dataset = read_dataset(tmp_path / "out")
    values = read_scribble(dataset, dataset.cases[0]).array.reshape(-1)[:4].tolist()
    assert values == [IGNORE, 1, 0, 2] and dataset.classes == {"background": 0, "liver": 1, "tumour": 2}
    assert not any("background" in line or "unlabelled" in line for line in report.warnings)


def test_folder_never_guesses_what_0_means(tmp_path):
    images, labels = mine(tmp_path)
    with pytest.raises(InputError, match=r"value 0 has no meaning.*0: 97.*expected --unlabelled or --background"):
        import_folder(images, labels, tmp_path / "out", classes={"k1": 1, "k2": 2, "k3": 3})
    assert not (tmp_path / "out").exists()


def test_folder_warns_of_what_is_suspicious(tmp_path):
    images, labels = mine(tmp_path)
    report = import_folder(images, labels, tmp_path / "a", classes={"k1": 1, "k2": 2, "k3": 3}, unlabelled=0)
    assert any("no stroke on the background" in line for line in report.warnings)
    report = import_folder(images, labels, tmp_path / "b", classes={"k1": 1, "k2": 2, "k3": 3}, background=0)
    assert any("no pixel is unlabelled" in line for line in report.warnings)


@pytest.mark.parametrize(
    ("image_name", "label_name", "case"),
    [
        ("a_0000", "a", "a"),
        ("a_0000", "a_0000", "a"),
        ("scan_0001", "scan_0001", "scan_0001"),
        ("x_seg", "x_seg", "x_seg"),
        ("x", "x_scribble", "x"),
    ],
)
def test_usual_names_find_each_other(tmp_path, image_name, label_name, case):
    save(tmp_path / "images" / f"{image_name}.nii.gz", image())
    save(tmp_path / "labels" / f"{label_name}.nii.gz", label([0, 1, 2]))
    import_folder(
        tmp_path / "images", tmp_path / "labels", tmp_path / "out", classes={"k": 1}, unlabelled=0, background=2
    )
    assert [c.id for c in read_dataset(tmp_path / "out").cases] == [case]


def test_folder_pairs_by_name(tmp_path):
    images, labels = mine(tmp_path)
    save(labels / "b.nii.gz", label([0, 1]))
    with pytest.raises(InputError, match="b.nii.gz: a label without its image"):
        import_folder(images, labels, tmp_path / "out", classes={"k": 1, "l": 2, "m": 3}, unlabelled=0)
    save(images / "b.nii.gz", image()[:, :, :2])
    with pytest.raises(InputError, match="b.nii.gz: shape"):
        import_folder(images, labels, tmp_path / "out", classes={"k": 1, "l": 2, "m": 3}, unlabelled=0)


def holed(path):
    array = image()
    array[0, 0, 0] = np.nan
    save(path, array)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("name", ["a_0001", "b_0000", "b_0001"])
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (holed, "1 voxels are NaN or infinite"),
        (cut_short, "cut short or damaged|not a readable image"),
        (lambda path: save(path, image()[:, :5]), r"shape \(6, 5, 3\)|shape \(6, 7, 3\), expected \(6, 5, 3\)"),
        (lambda path: save(path, image(), (2, 2, 8)), r"spacing \(2, 2, 8\) mm|expected \(2, 2, 8\)"),
    ],
)
def test_every_image_is_read_further_channels_and_unlabelled_cases_too(tmp_path, damage, found, name):
    """b has no label. Training would refuse such files, so that is told before anything is made."""
    for case in "ab":
        for channel in (0, 1):
            save(tmp_path / "images" / f"{case}_000{channel}.nii.gz", image())
    save(tmp_path / "labels" / "a.nii.gz", label([0, 1, 2]))
    damage(tmp_path / "images" / f"{name}.nii.gz")
    folders, told = (tmp_path / "images", tmp_path / "labels"), {"classes": {"k": 1}, "unlabelled": 0, "background": 2}
    with pytest.raises(InputError, match=rf"{name[0]}_000[01]\.nii\.gz: .*({found})"):
        import_folder(*folders, tmp_path / "out", **told)
    assert not (tmp_path / "out").exists() and len(inspect_folder(*folders, tmp_path / "out", **told).problems) == 1


@pytest.mark.parametrize("text", ["liver", "liver=x", "a=1,a=2", "a=1,b=1", "", "ignore=1,b=2"])
def test_classes_that_make_no_sense(text):
    with pytest.raises(InputError, match="--classes"):
        parse_classes(text)


@pytest.mark.real_data
def test_real_h5(real_data, tmp_path):
    import_wsl4mis(real_data / "acdc_h5", tmp_path / "out", spacing="10,1.5,1.5")
    dataset = read_dataset(tmp_path / "out")
    assert len(dataset.cases) == 6 and read_scribble(dataset, dataset.cases[0]).array.min() == 0
