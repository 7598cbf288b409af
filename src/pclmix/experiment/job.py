"""One job in its folder: train, predict the test cases, score them, leave `job.json`. Run as a process of its own.

`python -m pclmix.experiment.job FOLDER` goes on where an earlier process was stopped or killed. It ends when whoever
started it is gone (its stdin closes), and two never work in one folder, so a killed sweep can be begun again at once.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from pclmix.config import load_tree
from pclmix.data.effort import Kind, thin_dataset
from pclmix.data.folder import Case, Dataset, read_dataset, read_dense, read_scribble
from pclmix.data.grid import onto_grid
from pclmix.data.volume import read_label, slice_axis, to_slices
from pclmix.errors import InputError
from pclmix.evaluate import Evaluation, by_case, evaluate_case, summarise, to_json
from pclmix.experiment.order import FAILED_NAME, ORDER_NAME, RESULT_NAME, RESULT_VERSION, Order, fail
from pclmix.experiment.provenance import provenance
from pclmix.files import atomic_path
from pclmix.infer import PredictOptions, predict_files
from pclmix.interrupt import Interrupted
from pclmix.labels import IGNORE
from pclmix.train import CHECKPOINT_NAME, train

PLAIN_OPTIONS = PredictOptions(mirror=False, turn=0, largest_component=False, page=False)
"""The network's word and nothing else: no averaging over copies, no post-processing."""


def run_job(folder: Path) -> dict[str, Any]:
    """Do what `order.toml` in `folder` says and write `job.json`, last and whole; returns what it holds.

    Raises:
        InputError: the data or settings are not fit for it.
        Interrupted: SIGTERM; the training's state was saved.
    """
    order = load_tree(Order, folder / ORDER_NAME)
    began = datetime.now(UTC)
    dataset = read_dataset(Path(order.dataset))
    tested = [case for case in dataset.cases if case.id in set(order.test_cases)]
    if order.predictions:
        scores = {"default": score(dataset, tested, Path(order.predictions))}
        record: dict[str, Any] = {"predictions": order.predictions, "steps": None, "seconds": None, "settings": {}}
    else:
        record, scores = _trained(folder, order, dataset, tested)
    patients = {case.id: case.patient for case in dataset.cases}
    result = {
        "version": RESULT_VERSION,
        "job": order.job,
        "part": "external" if order.predictions else order.part,
        "row": order.row,
        "method": order.method,
        "parameter": {"name": order.parameter, "value": order.value} if order.parameter else None,
        "fold": order.fold,
        "seed": order.seed,
        "classes": dataset.classes,
        "train_patients": sorted({patients[case] for case in order.train_cases}),
        "test_patients": sorted({patients[case] for case in order.test_cases}),
        "patients": {case: patients[case] for case in order.test_cases},
        "scores": {name: to_json(part) for name, part in scores.items()},
        **record,
        "provenance": provenance() | {"began": began.isoformat(), "ended": datetime.now(UTC).isoformat()},
    }
    (folder / FAILED_NAME).unlink(missing_ok=True)
    with atomic_path(folder / RESULT_NAME) as temporary:
        temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _trained(
    folder: Path, order: Order, dataset: Dataset, tested: list[Case]
) -> tuple[dict[str, Any], dict[str, Evaluation]]:
    """Train and predict; the test cases are opened for the first time when the model is finished."""
    assert order.settings is not None
    source = dataset
    if order.part == "effort" and order.value < 1:
        kind: Kind = "slices" if order.parameter == "slices" else "pixels"
        axis = order.settings.planner.slice_axis
        thinned = folder / "dataset"
        shutil.rmtree(thinned, ignore_errors=True)  # made again by a resume, too: an earlier try may have left a part
        thin_dataset(dataset, order.train_cases, thinned, kind, order.value, order.seed, axis)
        source = read_dataset(thinned)
    run = folder / "run"
    begun = (run / "run.toml").exists()
    trained = train(
        source.root,
        run,
        settings=order.settings,
        method=order.method,
        steps=order.steps,
        minutes=None if begun else order.minutes,
        val_cases=(),
        train_cases=order.train_cases,
        seed=order.seed,
        resume=begun,
        overwrite=not begun,  # what a process left that was killed before it had begun
    )
    images = [image for case in tested for image in case.images]
    scores = {}
    for name, options in (("default", PredictOptions(page=False)), ("plain", PLAIN_OPTIONS)):
        predictions = folder / ("predictions" if name == "default" else "predictions_plain")
        for _ in predict_files(run, images, predictions, options, overwrite=True):
            pass
        scores[name] = score(dataset, tested, predictions)
    shutil.rmtree(folder / "predictions_plain")
    (run / CHECKPOINT_NAME).unlink(missing_ok=True)  # large, and a finished run is never resumed
    slices, annotated = _annotation(
        [case for case in source.cases if case.id in set(order.train_cases)], source, order.settings.planner.slice_axis
    )
    return {
        "predictions": "predictions",
        "steps": trained.steps,
        "seconds": trained.seconds,
        "train_slices": slices,
        "annotated": annotated,
        "settings": order.settings.model_dump(mode="json"),
    }, scores


def score(dataset: Dataset, cases: list[Case], predictions: Path) -> Evaluation:
    """Scores of the label files in a folder, matched by case id. Raises `InputError` for one that is missing or odd."""
    found = by_case(predictions)
    scores = {}
    for case in cases:
        if case.id not in found:
            raise InputError(f"{predictions}: no prediction for {case.id}, expected {case.id}.nii.gz")
        truth = read_dense(dataset, case)
        ours = onto_grid(truth, read_label(found[case.id]))
        unknown = set(ours.array.ravel().tolist()) - set(dataset.classes.values())
        if unknown:
            raise InputError(f"{found[case.id]}: label {min(unknown)}, expected 0-{max(dataset.classes.values())}")
        labels = range(1, len(dataset.classes))
        scores[case.id] = evaluate_case(ours.array, truth.array, truth.geometry.spacing, labels)
    return summarise(scores)


def _annotation(cases: list[Case], dataset: Dataset, axis: str) -> tuple[int, float]:
    """Annotated slices, and the share of their pixels that carries a stroke."""
    slices = pixels = annotated = 0
    for case in cases:
        volume = read_scribble(dataset, case)
        known = to_slices(volume.array != IGNORE, slice_axis(volume.array.shape, volume.geometry.spacing, axis))
        drawn = known[known.any(axis=(1, 2))]
        slices, pixels, annotated = slices + len(drawn), pixels + drawn.size, annotated + int(drawn.sum())
    return slices, annotated / max(pixels, 1)


def _end_with_parent() -> None:
    """Ask this process to stop when its stdin closes: whoever started it is gone."""

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin, which locks what the interpreter needs to end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        os._exit(130)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(folder: Path) -> int:
    """Run a job; the exit code is that of the command line."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the runner passes it on as SIGTERM
    _end_with_parent()
    try:
        with FileLock(folder / "lock"):
            if not (folder / RESULT_NAME).exists():
                run_job(folder)
        return 0
    except InputError as error:
        fail(folder, " ".join(str(error).split()))
        return 2
    except (Interrupted, KeyboardInterrupt):
        return 130
    except Exception as error:
        traceback.print_exc()
        fail(folder, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
