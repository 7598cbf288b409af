"""A results folder as an experiment leaves it, of small volumes and scores that are known."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pclmix.data.folder import write_dataset_json
from pclmix.evaluate import evaluate_folders, to_json

CLASSES = {"background": 0, "R&V": 1, "L_V": 2}
SPACING = (1.5, 1.0, 8.0)
PATIENTS = {f"p{i}_{frame}": f"p{i}" for i in range(1, 7) for frame in ("ed", "es")}
FOLDS = {"1": ("p1", "p2", "p3"), "2": ("p4", "p5", "p6")}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)


def volume(shift=0, second=True):
    """Two blocks, the first `shift` rows off; slice 2 of 4 has most foreground."""
    array = np.zeros((40, 36, 4), np.uint8)
    array[8 + shift : 18 + shift, 8:18, 1:3] = 1
    if second:
        array[24:30, 10:20, 1:3] = 2
        array[30:32, 10:20, 2] = 2
    return array


class Maker:
    """Writes a data set, jobs and the list of rows; every job's predictions are real files, scored for real."""

    def __init__(self, root):
        self.root, self.rows = root / "results", []
        self.dataset = root / "dataset"
        self.told = {"title": "Hearts <b> & scribbles", "reference": "pclmix", "upper": "full", "steps": 300}
        rng = np.random.default_rng(0)
        for case in PATIENTS:
            truth = volume()
            save(self.dataset / "labelsTr_dense" / f"{case}.nii.gz", truth)
            image = (truth * 50 + rng.normal(0, 10, truth.shape)).astype(np.float32)
            save(self.dataset / "imagesTr" / f"{case}_0000.nii.gz", image)
        write_dataset_json(self.dataset, "hearts", ["MR"], CLASSES, PATIENTS)

    def job(self, name, shifts, part="comparison", fold="1", seed=0, second=lambda case: True, **changes):
        """A finished job; `shifts`: case -> rows its first block is off, `second`: whether it finds the second."""
        folder = self.root / "jobs" / name
        for case, shift in shifts.items():
            save(folder / "predictions" / f"{case}.nii.gz", volume(shift, second(case)))
            save(folder / "truth" / f"{case}.nii.gz", volume())
        scores = to_json(evaluate_folders(folder / "predictions", folder / "truth"))
        patients = {case: PATIENTS[case] for case in shifts}
        test = sorted(set(patients.values()))
        tree = {
            "version": 1, "job": name, "part": part, "row": name.split("/")[0], "method": name.split("/")[0],
            "parameter": None, "fold": fold, "seed": seed, "classes": CLASSES, "test_patients": test,
            "train_patients": sorted(set(PATIENTS.values()) - set(test)), "patients": patients, "train_slices": 143,
            "annotated": 0.0103, "steps": 300, "seconds": 1800.0, "predictions": "predictions", "settings": {},
            "scores": {"default": scores} if part == "external" else {"default": scores, "plain": scores},
            "provenance": {
                "commit": "0123456789abcdef", "dirty": False, "version": "0.1", "python": "3.11.2",
                "versions": {"torch": "2.13"}, "host": "here", "cpu": "EPYC", "cores": 2, "gpu": "",
                "began": "2026-11-24T10:00:00", "ended": "2026-11-24T10:30:00",
            },
        }  # fmt: skip
        (folder / "job.json").write_text(json.dumps({**tree, **changes}))
        return name

    def row(self, part, row, jobs, parameter="", value=None):
        self.rows.append({"part": part, "row": row, "parameter": parameter, "value": value, "jobs": list(jobs)})

    def folds(self, name, shifts, **options):
        """A job a fold, of the cases of its patients."""
        return [
            self.job(f"{name}/fold-{fold}/seed-{options.get('seed', 0)}",
                     {case: s for case, s in shifts.items() if PATIENTS[case] in patients}, fold=fold, **options)
            for fold, patients in FOLDS.items()
        ]  # fmt: skip

    def write(self):
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.told.items()]
        lines.append(f"dataset = {json.dumps(str(self.dataset))}")
        for row in self.rows:
            known = {key: value for key, value in row.items() if value is not None}
            lines += ["[[rows]]", *(f"{key} = {json.dumps(value)}" for key, value in known.items())]
        self.root.mkdir(exist_ok=True)
        (self.root / "experiment.toml").write_text("\n".join(lines) + "\n")
        return self.root


def shifts(first, step=0):
    """Case -> rows off: `first` for all, and more for later cases."""
    return {case: first + (step * index) // 4 for index, case in enumerate(PATIENTS)}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def results(maker: Maker) -> Path:
    """Every kind of row: two folds and two seeds, one row with a failed job, an upper bound, an external tool."""
    ours = [*maker.folds("pclmix", shifts(1)), *maker.folds("pclmix", shifts(2), seed=1)]
    maker.row("comparison", "full", maker.folds("full", shifts(0, 1)))
    maker.row("comparison", "pclmix", ours)
    maker.row("comparison", "pce", maker.folds("pce", shifts(4), second=lambda case: case != "p2_es"))
    maker.row("comparison", "late", [*maker.folds("late", shifts(0))[:1], "late/fold-3/seed-0"])
    failed = maker.root / "jobs" / "late" / "fold-3" / "seed-0"
    failed.mkdir(parents=True)
    (failed / "failed.json").write_text(json.dumps({"job": "late/fold-3/seed-0", "error": "no memory | left"}))
    maker.row("external", "nnU-Net", [maker.job("nnU-Net", shifts(3), part="external", fold="", provenance={})])
    maker.row("ablation", "all", ours)
    maker.row("ablation", "no_mix", maker.folds("no_mix", shifts(5), part="ablation"))
    maker.row("sensitivity", "default", ours, "method.auxiliary", 0.4)
    maker.row("sensitivity", "high", maker.folds("high", shifts(3), part="sensitivity", method="pclmix"),
              "method.auxiliary", 0.8)  # fmt: skip
    for index, value in enumerate((0.25, 0.5)):
        jobs = maker.folds(f"slices{value}", shifts(5 - index), part="effort", method="pclmix")
        maker.row("effort", f"slices {value}", jobs, "slices", value)
        jobs = maker.folds(f"pixels{value}", shifts(4 - index), part="effort", method="pclmix")
        maker.row("effort", f"pixels {value}", jobs, "pixels", value)
    maker.row("effort", "all", ours, "slices", 1.0)
    return maker.write()
