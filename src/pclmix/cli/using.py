"""A model's use: predict, export, evaluate, models."""

from pathlib import Path
from typing import Annotated

import typer

from pclmix.cli.common import Overwrite, app, command, warn
from pclmix.errors import InputError


@command(app, "predict")
def predict(
    model: Annotated[str, typer.Argument(help="A run folder, a model file, or the name of a shipped model.")],
    paths: Annotated[list[Path], typer.Argument(metavar="INPUT... OUTDIR", help="Files or folders, then the output.")],
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Average over mirrored copies (default: the plan's).")
    ] = None,
    turn: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES",
            help="Average over copies turned by so many degrees either way, 0: none (default: the plan's).",
        ),
    ] = None,
    largest_component: Annotated[
        bool | None,
        typer.Option(
            "--largest-component/--no-largest-component",
            help="Keep the largest pieces of all structures, then of each, or every piece (default: as planned).",
        ),
    ] = None,
    orient: Annotated[
        bool,
        typer.Option(
            "--orient",
            help="Turn and mirror images to lie as those trained on: as the headers say, or where they do not tell, as "
            "the network is surest of.",
        ),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write CASE_probabilities too, a channel a class.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write CASE_uncertainty too, 0 certain to 1.")
    ] = False,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="nii.gz, nrrd, seg.nrrd, mha, png, tif or dcm (default: the input's; png for a JPEG; dcm, a DICOM "
            "SEG, for a DICOM series).",
        ),
    ] = None,
    page: Annotated[bool, typer.Option(help="Leave a page, its pictures and CSV files beside the labels.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Segment images with a model; each label file has its image's own format, grid and header."""
    if len(paths) < 2:
        raise InputError(f"{paths[0]}: found one path after the model, expected INPUT... and then OUTDIR")
    from pclmix.infer import PredictOptions, predict_files

    options = PredictOptions(
        mirror=mirror,
        turn=turn,
        largest_component=largest_component,
        orient=orient,
        save_probabilities=probabilities,
        save_uncertainty=uncertainty,
        format=output_format,
        page=page,
    )
    for path in predict_files(model, paths[:-1], paths[-1], options, overwrite=overwrite, warn=warn):
        print(path)


@command(app, "export")
def export(
    model: Annotated[str, typer.Argument(help="A run folder, a model file, or the name of a shipped model.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, OUT.onnx, or the folder of a bundle.")],
    kind: Annotated[
        str, typer.Option("--format", help="onnx: a file for onnxruntime; bundle: a folder that MONAI runs.")
    ] = "onnx",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file, or what the folder holds.")] = False,
) -> None:
    """Write a model for programs that do not know pclmix; checked against PyTorch before it is handed over."""
    if kind not in ("onnx", "bundle"):
        raise InputError(f"--format {kind}: unknown format, expected onnx or bundle")
    if kind == "onnx":
        from pclmix.export.onnx_file import write_onnx as write
    else:
        from pclmix.export.bundle import write_bundle as write
    print(write(model, out, overwrite=overwrite))


@command(app, "evaluate")
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted label files.")],
    truth: Annotated[Path, typer.Argument(help="Folder of dense label files.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a line a case and class.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of --json and --csv.")] = False,
) -> None:
    """Dice and HD95 of predictions, a class at a time, in 3-D (an image of one slice in 2-D) and in mm."""
    from pclmix.console import stdout_console
    from pclmix.evaluate import evaluate_folders, render, write_csv, write_json
    from pclmix.files import claim_file

    if json_file and json_file == csv_file:
        raise InputError(f"--json and --csv: found one file ({csv_file}), expected two")
    for path in (json_file, csv_file):
        if path:
            claim_file(path, overwrite=overwrite)
    evaluation = evaluate_folders(predictions, truth, warn)
    if json_file:
        write_json(evaluation, json_file)
    if csv_file:
        write_csv(evaluation, csv_file)
    stdout_console().print(render(evaluation))


@command(app, "models")
def models(
    name: Annotated[str | None, typer.Argument(help="One of them, to read its card.")] = None,
) -> None:
    """List the models that come with the package, or print the card of one."""
    from pclmix.shipped import card, shipped_names, summary

    if name is not None and name not in shipped_names():
        raise InputError(f"{name}: no such model, expected one of: {', '.join(shipped_names())}")
    if name is not None:
        print(card(name), end="")
        return
    for known in shipped_names():
        print(f"{known}: {summary(known)}")
