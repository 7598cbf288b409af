"""The demo: a synthetic heart, scribbles, a model, unseen volumes, a figure and a page."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pclmix.config import make_settings
from pclmix.console import stderr_console, stdout_console
from pclmix.data.folder import read_dataset, read_scribble
from pclmix.data.phantom import make_phantom, make_unseen
from pclmix.data.volume import read_image, read_label
from pclmix.evaluate import evaluate_folders, render
from pclmix.infer import PredictOptions, predict_files
from pclmix.pages import score_table, write_page
from pclmix.pictures import overlay, save_figure, show
from pclmix.train import train

TRAINING_CASES, UNSEEN_CASES, SEED = 12, 6, 1
STEPS = 200
OVERRIDES = (
    "method.sparing=false",
    "planner.view=1",
    "planner.batch=6",
    "train.validations=1",
    "train.statistics_batches=20",
)
"""All parts of the method, with which these hearts are found better (docs/experiments.md), and six crops of 96 x 96
pixels a step that show the heart and what is round it: the demo stays short."""


def run_demo(out: Path, steps: int = STEPS) -> None:
    """Run the whole of PCLMix on the phantom in the folder `out` and say where the results are."""
    console = stderr_console()
    dataset_folder = make_phantom(out / "dataset", TRAINING_CASES, SEED)
    images, truth = make_unseen(out / "unseen", UNSEEN_CASES, SEED)
    console.print(
        f"made {TRAINING_CASES} scribbled hearts in {dataset_folder} and {UNSEEN_CASES} unseen ones in {images}"
    )
    result = train(
        dataset_folder,
        out / "run",
        settings=make_settings("cpu", OVERRIDES),
        steps=steps,
        seed=SEED,
        overwrite=True,
        console=console,
    )
    predictions = out / "predictions"
    options = PredictOptions(save_uncertainty=True)
    list(predict_files(result.run, [images], predictions, options, overwrite=True, console=console))
    evaluation = evaluate_folders(predictions, truth)
    names = result.plan.class_names
    stdout_console().print(render(evaluation, "unseen volumes"))
    for label, summary in evaluation.classes.items():
        print(f"Dice {names[label]}: {summary.dice:.3f}")
    _figure(out, dataset_folder, images, truth, predictions)
    write_page(
        out / "index.html",
        "PCLMix: from scribbles to segmentations",
        [
            f"A model learnt from {TRAINING_CASES} synthetic volumes with scribbles on about 1 % of their pixels, "
            f"{result.steps} steps, {result.seconds:.0f} seconds of training.",
            f"Below: its scores on {UNSEEN_CASES} volumes it has not seen.",
        ],
        [("demo.png", "Scribbles to learn from (top row) and predictions of unseen volumes (other rows).")],
        score_table(evaluation, names),
    )
    print(f"figure: {out / 'demo.png'}\npage:   {out / 'index.html'}\nmodel:  {result.run / 'model.safetensors'}")


def _figure(out: Path, dataset_folder: Path, images: Path, truth: Path, predictions: Path) -> None:
    """Image, scribble; then image, truth, prediction and uncertainty of three unseen volumes."""
    dataset = read_dataset(dataset_folder)
    figure = Figure(figsize=(9.2, 9.6), layout="constrained")
    axes = figure.subplots(4, 4)
    for axis in axes.flat:
        axis.set_axis_off()
    for pair, case in enumerate(dataset.cases[:2]):
        image, strokes = read_image(case.images[0]).array, read_scribble(dataset, case).array
        axes[0][2 * pair].imshow(overlay(image[..., 3], np.zeros(image.shape[:2], np.uint8)))
        axes[0][2 * pair].set_title("image", fontsize=10)
        axes[0][2 * pair + 1].imshow(overlay(image[..., 3], strokes[..., 3]))
        axes[0][2 * pair + 1].set_title("scribble", fontsize=10)
    for row, path in enumerate(sorted(truth.glob("*.nii.gz"))[:3], start=1):
        case_id = path.name.removesuffix(".nii.gz")
        middle = 2 + row
        image = read_image(images / f"{case_id}_0000.nii.gz").array[..., middle]
        dense = read_label(path).array[..., middle]
        labels = read_label(predictions / path.name).array[..., middle]
        doubt = read_image(predictions / f"{case_id}_uncertainty.nii.gz").array[..., middle]
        axes[row][0].imshow(overlay(image, np.zeros(image.shape, np.uint8)))
        axes[row][1].imshow(overlay(image, dense))
        axes[row][2].imshow(overlay(image, labels))
        show(axes[row][3], doubt, image[None])
        if row == 1:
            for column, title in enumerate(("unseen image", "truth", "prediction", "uncertainty")):
                axes[row][column].set_title(title, fontsize=10)
    save_figure(figure, out / "demo.png")
