"""The command line: parse, call the library, print. Torch is imported inside a command, never here."""

import errno
import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from pclmix import __version__
from pclmix.errors import InputError

app = typer.Typer(
    name="pclmix",
    help="Learn to segment medical images from a few scribbles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
importers = typer.Typer(
    help="Bring images and scribbles into a dataset folder.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(importers, name="import")

DISK_ERRORS = {
    getattr(errno, name) for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "ENAMETOOLONG")
}
"""What the disk refuses is not our bug, wherever it happens."""

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the output folder holds.")]


def _say(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def _warn(text: str) -> None:
    _say(f"warning: {text}")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def command(group: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command: `InputError` is one line and exit code 2, Ctrl-C or SIGTERM is exit code 130."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            signal.signal(signal.SIGTERM, _terminate)
            try:
                function(*args, **kwargs)
            except InputError as error:
                _say(f"pclmix: {' '.join(str(error).split())}")
                raise typer.Exit(2) from None
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                _say(f"pclmix: {error.filename or 'disk'}: {error.strerror}, expected a readable, writable place")
                raise typer.Exit(2) from None
            except KeyboardInterrupt as error:
                _say(f"pclmix: {str(error) or 'interrupted'}")
                raise typer.Exit(130) from None

        return group.command(name)(run)

    return register


def _version(value: bool) -> None:
    if value:
        print(f"pclmix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@command(app, "demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the phantom, the model, the predictions and the page.")] = Path(
        "demo"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Make a synthetic heart, learn it from scribbles, predict unseen volumes and show the result."""
    from pclmix.demo import run_demo
    from pclmix.files import claim_folder

    run_demo(claim_folder(out, overwrite=overwrite))


def _require_none(problems: list[str]) -> None:
    """Raise `InputError` with the first of the problems that a report has listed."""
    if problems:
        more = f" (and {len(problems) - 1} more, listed above)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)


def _report_import(report: Any, out: Path) -> None:
    for line in report.warnings:
        _warn(line)
    print(f"{out}: {report.cases} cases")


@command(importers, "folder")
def import_folder(
    images: Annotated[
        Path,
        typer.Argument(help="Folder of images, CASE.nii.gz or CASE_0000.nii.gz, ... a channel, or other formats."),
    ],
    labels: Annotated[Path, typer.Argument(help="Folder of scribbles, named like the images.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    classes: Annotated[
        str | None,
        typer.Option(
            help="NAME=V,...: the label value of each structure in your files (asked for at a terminal). A segment of "
            "a .seg.nrrd or DICOM SEG that is named like a class is that class, whatever its value."
        ),
    ] = None,
    unlabelled: Annotated[int | None, typer.Option(help="The value that means: nobody looked here.")] = None,
    background: Annotated[int | None, typer.Option(help="The value of strokes drawn on the background.")] = None,
    patients: Annotated[Path | None, typer.Option(help="CSV file with a line CASE,PATIENT each.")] = None,
    patient_pattern: Annotated[
        str | None,
        typer.Option(help="Or a regular expression; its first group, found in a case's name, is the patient."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report, on stdout and in the folder OUT_report; no data set.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Anybody's images and scribbles, with a report of what was paired and what each value means."""
    from pclmix.console import asker
    from pclmix.data.importers.folder import PAGE, import_folder, inspect_folder, parse_classes

    told: dict[str, Any] = {
        "classes": None if classes is None else parse_classes(classes),
        "unlabelled": unlabelled,
        "background": background,
        "patients": patients,
        "patient_pattern": patient_pattern,
    }
    if dry_run:
        found = inspect_folder(images, labels, out, **told)
        print(found.text)
        for path in found.files:
            print(path)
        _require_none(found.problems)
        return
    _report_import(import_folder(images, labels, out, **told, ask=asker(), overwrite=overwrite), out)
    _say(f"{out / PAGE}: look whether pairs, values and strokes are right")


@command(importers, "acdc")
def import_acdc(
    images: Annotated[Path, typer.Argument(help="Folder of patientNNN_frameFF.nii.gz, nested or flat.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    scribbles: Annotated[Path, typer.Option(help="Folder of patientNNN_frameFF_scribble.nii.gz, nested or flat.")],
    overwrite: Overwrite = False,
) -> None:
    """The ACDC challenge with the experts' scribbles."""
    from pclmix.data.importers.acdc import import_acdc

    _report_import(import_acdc(images, scribbles, out, overwrite=overwrite), out)


@command(importers, "mscmr")
def import_mscmr(
    folder: Annotated[Path, typer.Argument(help="Folder with train/ and val/, images/ and labels/ in each.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    overwrite: Overwrite = False,
) -> None:
    """The MSCMR challenge with scribbles."""
    from pclmix.data.importers.mscmr import import_mscmr

    _report_import(import_mscmr(folder, out, overwrite=overwrite), out)


@command(importers, "wsl4mis")
def import_wsl4mis(
    folder: Annotated[Path, typer.Argument(help="Folder with ACDC_training_slices/ and ACDC_training_volumes/.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    spacing: Annotated[str, typer.Option(help="Z,Y,X in mm, or a CSV file with a line CASE,Z,Y,X each.")],
    overwrite: Overwrite = False,
) -> None:
    """The h5 layout that WSL4MIS reads; it holds no spacing, so you give it."""
    from pclmix.data.importers.wsl4mis import import_wsl4mis

    _report_import(import_wsl4mis(folder, out, spacing=spacing, overwrite=overwrite), out)


@command(app, "check")
def check(dataset: Annotated[Path, typer.Argument(help="A dataset folder.")]) -> None:
    """Say what a dataset folder holds and what would break training (exit code 2)."""
    from pclmix.console import stdout_console
    from pclmix.data.check import check_dataset, render
    from pclmix.data.folder import read_dataset

    report = check_dataset(read_dataset(dataset))
    stdout_console().print(render(report))
    _require_none(report.problems)


@command(app, "scribble")
def scribble(
    dense: Annotated[Path, typer.Argument(help="Folder of dense label files, or a dataset folder with some.")],
    out: Annotated[Path, typer.Argument(help="Folder for the scribbles, CASE.nii.gz each.")],
    curve: Annotated[
        str, typer.Option(help="loop: blobs get a loop half way in, as experts draw; skeleton: their skeleton.")
    ] = "loop",
    width: Annotated[float, typer.Option(help="Width of the pen, pixels.")] = 1.0,
    length: Annotated[float, typer.Option(help="Share of each structure's curve that is drawn.")] = 1.0,
    border: Annotated[float, typer.Option(help="Share of each structure's border that is drawn too.")] = 0.0,
    background: Annotated[
        bool, typer.Option("--background/--no-background", help="Draw on the background, round the structures.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    compare: Annotated[
        Path | None, typer.Option(help="Folder of real scribbles of the same cases: their figures beside ours.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make scribbles from dense labels, as an annotator might have drawn them, and print their figures."""
    from pclmix.console import stdout_console
    from pclmix.data.drawing import ScribbleSettings
    from pclmix.data.scribble import make_scribbles, render

    settings = ScribbleSettings(curve=curve, width=width, length=length, border=border, background=background)
    report = make_scribbles(dense, out, settings, seed=seed, compare=compare, overwrite=overwrite)
    stdout_console().print(render(report))


@command(app, "train")
def train(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    out: Annotated[Path, typer.Option(help="The run folder: the model, its plan, logs and pictures.")],
    method: Annotated[str | None, typer.Option(help="pclmix, or a method to compare with.")] = None,
    preset: Annotated[str | None, typer.Option(help="cpu, gpu or paper.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps T.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Or the time to spend on training.")] = None,
    val_cases: Annotated[
        Path | None, typer.Option(help="One patient or case id a line: validated on, never trained on.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every random choice.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.name=value, for example planner.crop=192; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    overwrite: Overwrite = False,
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs (without one: processes) a machine, which share every batch.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start the command on each, or let srun.")] = 1,
) -> None:
    """Learn a model from the scribbles of a dataset folder."""
    if steps is not None and minutes is not None:
        raise InputError("--steps and --minutes: found both, expected one of them")
    if resume and overwrite:
        raise InputError("--resume and --overwrite: found both, expected one of them")
    from pclmix.config import make_settings
    from pclmix.validation import render

    own = not resume or preset is not None or override
    settings = make_settings(preset or "cpu", tuple(override or ())) if own else None
    from pclmix.train import train

    result = train(
        dataset,
        out,
        settings=settings,
        method=method,
        steps=steps,
        minutes=minutes,
        val_cases=val_cases,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        devices=devices,
        nodes=nodes,
    )
    if result.rank:
        return
    if result.validation is not None:
        from pclmix.console import stdout_console

        stdout_console().print(render(result.validation))
    print(result.run / "model.safetensors")


@command(app, "predict")
def predict(
    model: Annotated[str, typer.Argument(help="A run folder, a model file, or the name of a shipped model.")],
    paths: Annotated[list[Path], typer.Argument(metavar="INPUT... OUTDIR", help="Files or folders, then the output.")],
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Average over mirrored copies (default: the plan's).")
    ] = None,
    largest_component: Annotated[
        bool | None,
        typer.Option(
            "--largest-component/--no-largest-component",
            help="Keep the largest component of all structures, then of each, or every piece (default: as planned).",
        ),
    ] = None,
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
        largest_component=largest_component,
        save_probabilities=probabilities,
        save_uncertainty=uncertainty,
        format=output_format,
        page=page,
    )
    for path in predict_files(model, paths[:-1], paths[-1], options, overwrite=overwrite, warn=_warn):
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
) -> None:
    """Dice and HD95 of predictions, a class at a time, in 3-D and in mm."""
    from pclmix.console import stdout_console
    from pclmix.evaluate import evaluate_folders, render, write_csv, write_json

    evaluation = evaluate_folders(predictions, truth)
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


@command(app, "methods")
def methods() -> None:
    """List the methods that `--method` and experiments know: a line and a citation each."""
    from rich.table import Table

    from pclmix.compare.registry import METHODS
    from pclmix.console import stdout_console

    table = Table("method", "what it minimises", "source")
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.citation)
    stdout_console().print(table)


@command(app, "experiment")
def experiment(
    file: Annotated[Path, typer.Argument(help="The experiment, a TOML file (docs/studies.md).")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in the results folder; nothing done is repeated.")
    ] = False,
    ray: Annotated[
        str | None, typer.Option(help="Run the jobs on Ray: local, or the address of a cluster (needs pclmix[ray]).")
    ] = None,
) -> None:
    """Run folds x methods x seeds from one file, then write tables and figures to RESULTS/report."""
    from pclmix.experiment.run import run_experiment
    from pclmix.report.write import comparison_text, write_report

    results, failed = run_experiment(file, resume=resume, ray=ray)
    paths = write_report(results)
    print(comparison_text(results))
    for path in paths:
        print(path)
    if failed:
        _say(
            f"pclmix: {len(failed)} job(s) failed, the first {failed[0][0]}: {failed[0][1]}; --resume tries them again"
        )
        raise typer.Exit(1)


@command(app, "report")
def report(results: Annotated[Path, typer.Argument(help="The results folder of an experiment.")]) -> None:
    """Write RESULTS/report from what an experiment left: tables, tests, figures; nothing is trained."""
    from pclmix.report.write import comparison_text, write_report

    paths = write_report(results)
    print(comparison_text(results))
    for path in paths:
        print(path)


def main() -> None:
    """Entry point of the `pclmix` command."""
    app()
