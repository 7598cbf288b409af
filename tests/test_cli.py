"""The command line in-process: exact words, exit codes, one line on stderr, and no torch before it is needed."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

import pclmix
from pclmix.cli import app
from pclmix.data.phantom import make_unseen

TINY = [
    part
    for setting in (
        "planner.pixels=2304", "planner.batch=4", "planner.depth=4", "network.swin_width=16", "network.embedding=8",
        "train.statistics_batches=2", "train.validations=1",
    )
    for part in ("--set", setting)
]  # fmt: skip


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def refused(*arguments):
    """The one line on stderr with which a command ends with exit code 2."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1 and lines[0].startswith("pclmix: ")
    return lines[0]


@pytest.mark.parametrize("code", ["import pclmix", "import pclmix.cli", "from pclmix.cli import main"])
def test_torch_is_not_imported_before_it_is_needed(code):
    check = f"{code}; import sys; print(sorted(m for m in sys.modules if m in ('torch', 'monai', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout == "[]\n"


def test_help_names_every_command():
    text = invoke("--help").stdout
    for command in (
        "demo",
        "import",
        "check",
        "scribble",
        "train",
        "predict",
        "export",
        "evaluate",
        "methods",
        "experiment",
        "report",
    ):
        assert command in text
        assert invoke(command, "--help").exit_code == 0
    for group in ("folder", "acdc", "mscmr", "wsl4mis"):
        assert group in invoke("import", "--help").stdout
        assert invoke("import", group, "--help").exit_code == 0


def test_the_reference_in_docs_says_what_help_says():
    made = [sys.executable, "-m", "typer", "pclmix.cli", "utils", "docs", "--name", "pclmix"]
    text = subprocess.run(made, capture_output=True, text=True, check=True).stdout
    kept = Path(pclmix.__file__).parents[2] / "docs" / "cli.md"
    assert text.strip() == kept.read_text(encoding="utf-8").strip(), "run `make docs`"


def test_version():
    assert invoke("--version").stdout == f"pclmix {pclmix.__version__}\n"


def test_from_scribbles_to_scores(phantom, tmp_path):
    """A person's whole way: files from a painting tool, check, train, predict, evaluate."""
    (tmp_path / "images").mkdir()
    (tmp_path / "painted").mkdir()
    for path in (phantom / "imagesTr").iterdir():
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    for path in (phantom / "labelsTr").iterdir():  # a painting tool: 0 is not painted, 9 a stroke on the background
        file = nib.load(path)
        painted = np.array([9, 1, 2, 3, 0], np.uint8)[np.asarray(file.dataobj).astype(int)]
        nib.save(nib.Nifti1Image(painted, file.affine, file.header), tmp_path / "painted" / path.name)
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "out"
    result = invoke("import", "folder", tmp_path / "images", tmp_path / "painted", data,
                    "--classes", "RV=1,Myo=2,LV=3", "--unlabelled", 0, "--background", 9)  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, f"{data}: 4 cases\n")
    result = invoke("check", data)
    assert result.exit_code == 0 and "nothing here would break training" in result.stdout
    result = invoke("train", data, "--out", run, "--steps", 3, "--seed", 5, *TINY)
    assert (result.exit_code, result.stdout) == (0, f"{run / 'model.safetensors'}\n")
    assert "T = 3 steps (repeat with --steps 3), seed 5" in result.stderr
    images, truth = make_unseen(tmp_path / "unseen", 2, seed=3)
    result = invoke("predict", run, images, out, "--uncertainty", "--no-mirror")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(out / f"unseen{i:02d}.nii.gz") for i in (1, 2)]
    assert (out / "unseen01_uncertainty.nii.gz").exists()
    assert invoke("predict", run, images, tmp_path / "alone", "--turn", 0, "--probabilities").exit_code == 0
    assert invoke("predict", run, images, tmp_path / "turned", "--probabilities").exit_code == 0
    alone, turned = (nib.load(tmp_path / n / "unseen01_probabilities.nii.gz").dataobj for n in ("alone", "turned"))
    assert np.abs(np.asarray(alone) - np.asarray(turned)).max() > 1e-3  # preset cpu is trained on rotations
    assert "found no angle" in refused("predict", run, images, tmp_path / "none", "--turn", "nan")
    result = invoke("export", run, tmp_path / "bundle", "--format", "bundle")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'bundle'}\n")
    result = invoke("evaluate", out, truth, "--json", tmp_path / "s.json", "--csv", tmp_path / "s.csv")
    assert result.exit_code == 0 and "2 cases" in result.stdout
    scores = json.loads((tmp_path / "s.json").read_text())
    assert set(scores["classes"]) == {"1", "2", "3"} and set(scores["cases"]) == {"unseen01", "unseen02"}
    assert set(scores["mean"]) >= {"dice", "hd95", "infinite"}
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 7
    assert "\x1b" not in result.stdout + result.stderr


def test_evaluate_replaces_no_file_unless_told_to(phantom, tmp_path):
    truth, scores, table = phantom / "labelsTr_dense", tmp_path / "s.json", tmp_path / "s.csv"
    evaluate = ("evaluate", truth, truth, "--json", scores, "--csv", table)
    table.write_text("mine")
    assert "s.csv: the file exists, expected a new name (or --overwrite)" in refused(*evaluate)
    assert table.read_text() == "mine" and not scores.exists()
    for _ in range(2):
        assert invoke(*evaluate, "--overwrite").exit_code == 0
    assert json.loads(scores.read_text())["mean"]["dice"] == 1 and table.read_text().startswith("case,label")
    assert "--json and --csv: found one file" in refused("evaluate", truth, truth, "--json", "a", "--csv", "a")


def test_evaluate_warns_of_a_class_that_no_truth_holds(phantom, tmp_path):
    dense = nib.load(next((phantom / "labelsTr_dense").iterdir()))
    for folder, value in (("ours", 7), ("theirs", 3)):
        (tmp_path / folder).mkdir()
        array = np.full(dense.shape, value, np.uint8)
        nib.save(nib.Nifti1Image(array, dense.affine, dense.header), tmp_path / folder / "a.nii.gz")
    result = invoke("evaluate", tmp_path / "ours", tmp_path / "theirs")
    assert result.exit_code == 0 and result.stderr.startswith(f"warning: {tmp_path / 'ours' / 'a.nii.gz'}: label 7")


def test_training_twice_into_one_folder_needs_permission(phantom, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    assert "not empty" in refused("train", phantom, "--out", run, "--steps", 1, *TINY)
    assert invoke("train", phantom, "--out", run, "--steps", 1, "--overwrite", *TINY).exit_code == 0
    (run / "pictures" / "step_000009.png").write_text("of the run before")
    (run / "pictures" / "mine.png").write_text("mine")
    assert invoke("train", phantom, "--out", run, "--steps", 2, "--overwrite", *TINY).exit_code == 0
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["mine.png", "step_000002.png"]
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert (run / "notes.txt").read_text() == "mine"
    assert "other seed" in refused("train", phantom, "--out", run, "--resume", "--seed", 7)
    assert invoke("train", phantom, "--out", run, "--resume").exit_code == 0


@pytest.mark.parametrize(
    "arguments, found",
    [
        (("train", "DATA", "--out", "RUN", "--steps", 1, "--minutes", 1), "--steps and --minutes: found both"),
        (("train", "DATA", "--out", "RUN", "--resume", "--overwrite"), "--resume and --overwrite: found both"),
        (("train", "DATA", "--out", "RUN", "--minutes", "inf"), "--minutes inf: expected a time above 0"),
        (("train", "DATA", "--out", "RUN", "--method", "pcl"), "did you mean"),
        (("train", "DATA", "--out", "RUN", "--preset", "fast"), "expected one of cpu, gpu, paper"),
        (("train", "DATA", "--out", "RUN", "--set", "speed"), "expected section.name=value"),
        (("train", "NOWHERE", "--out", "RUN"), "dataset.json: no such file"),
        (("train", "DATA", "--out", "RUN", "--val-cases", "NOWHERE"), "nowhere: cannot read"),
        (("check", "NOWHERE"), "dataset.json: no such file"),
        (("predict", "NOWHERE", "DATA", "RUN"), "no such model"),
        (("export", "NOWHERE", "RUN"), "found no suffix, expected a name that ends in .onnx"),
        (("export", "NOWHERE", "RUN", "--format", "bundle"), "no such model"),
        (("export", "NOWHERE", "RUN", "--format", "torch"), "expected onnx or bundle"),
        (("predict", "NOWHERE", "DATA"), "found one path after the model"),
        (("evaluate", "NOWHERE", "DATA"), "nowhere"),
        (("import", "folder", "NOWHERE", "NOWHERE", "RUN", "--classes", "a=1"), "nowhere"),
        (("import", "acdc", "NOWHERE", "RUN", "--scribbles", "NOWHERE"), "nowhere"),
        (("import", "mscmr", "NOWHERE", "RUN"), "nowhere"),
        (("import", "wsl4mis", "NOWHERE", "RUN", "--spacing", "8,1,1"), "nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(phantom, tmp_path, arguments, found):
    places = {"DATA": phantom, "RUN": tmp_path / "run", "NOWHERE": tmp_path / "nowhere"}
    assert found in refused(*(places.get(argument, argument) for argument in arguments))
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("# heart001\n\n", "val.txt: names nobody, expected one patient or case id a line"),
        ("heart001\nheart002\n", "val.txt: no case with a scribble is left to train on beside those it names"),
    ],
)
def test_a_file_of_nobody_or_of_everybody_to_validate_on_is_refused_before_preprocessing(
    phantom, tmp_path, monkeypatch, names, line
):
    monkeypatch.setattr("pclmix.task.fingerprint", None)  # the first that reads voxels
    file = tmp_path / "val.txt"
    file.write_text(names)
    assert line in refused("train", phantom, "--out", tmp_path / "run", "--steps", 1, "--val-cases", file)
    assert not any((tmp_path / "run").glob("*"))


def test_a_shipped_model_is_exported_by_its_name(tmp_path, monkeypatch):
    out = tmp_path / "model.onnx"
    result = invoke("export", "acdc-scribble", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert "the file exists" in refused("export", "acdc-scribble", out)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'pclmix[export]'" in refused("export", "acdc-scribble", tmp_path / "other.onnx")
    assert list(tmp_path.iterdir()) == [out]


def test_square_brackets_in_names_are_printed_as_they_are(phantom, tmp_path):
    import shutil

    data = shutil.copytree(phantom, tmp_path / "hearts [old]" / "a[/b]")
    result = invoke("check", data)
    assert result.exit_code == 0 and str(data) in result.stdout
    assert "[x].txt" in refused("train", data, "--out", tmp_path / "run", "--val-cases", tmp_path / "[x].txt")


def test_what_the_disk_refuses_is_one_line(monkeypatch, phantom):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "data/a.nii.gz")

    monkeypatch.setattr("pclmix.data.check.check_dataset", full)
    assert "data/a.nii.gz: No space left on device, expected" in refused("check", phantom)


def test_no_case_with_a_scribble_is_named(phantom, tmp_path):
    import shutil

    data = shutil.copytree(phantom, tmp_path / "data")
    shutil.rmtree(data / "labelsTr")
    assert "no case with a scribble" in refused("train", data, "--out", tmp_path / "run", "--steps", 1)
    assert "no case with a scribble" in refused("check", data)


def test_a_bug_of_ours_is_exit_code_1(monkeypatch, phantom):
    def broken(*args):
        raise ZeroDivisionError

    monkeypatch.setattr("pclmix.data.check.check_dataset", broken)
    assert invoke("check", phantom).exit_code == 1


def test_ctrl_c_is_exit_code_130(monkeypatch, phantom):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("pclmix.data.check.check_dataset", interrupted)
    result = invoke("check", phantom)
    assert (result.exit_code, result.stderr) == (130, "pclmix: interrupted\n")
