"""Data in: import, check, scribble."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pclmix.cli.common import Overwrite, app, command, importers, require_none, say, warn


def _report_import(report: Any, out: Path) -> None:
    for line in report.warnings:
        warn(line)
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
            help="NAME=V,...: the label value of each structure in your files (asked for at a terminal). Structures "
            "are numbered by these values, so 1 to K stay what they are; background=V and unlabelled=V are as the "
            "options of these names. A segment of a .seg.nrrd or DICOM SEG that is named like a class is that class, "
            "whatever its value."
        ),
    ] = None,
    unlabelled: Annotated[int | None, typer.Option(help="The value that means: nobody looked here.")] = None,
    background: Annotated[int | None, typer.Option(help="The value of strokes drawn on the background.")] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            help="NAME,...: what the channels are called, in the order of their files. One named CT is clipped and "
            "scaled as CT is; DICOM series of that modality are named so without the option."
        ),
    ] = None,
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
    from pclmix.data.importers.channels import parse_channels
    from pclmix.data.importers.folder import PAGE, import_folder, inspect_folder, parse_classes

    told: dict[str, Any] = {
        "classes": None if classes is None else parse_classes(classes),
        "unlabelled": unlabelled,
        "background": background,
        "channels": None if channels is None else parse_channels(channels),
        "patients": patients,
        "patient_pattern": patient_pattern,
    }
    if dry_run:
        found = inspect_folder(images, labels, out, **told)
        print(found.text)
        for path in found.files:
            print(path)
        require_none(found.problems)
        return
    _report_import(import_folder(images, labels, out, **told, ask=asker(), overwrite=overwrite), out)
    say(f"{out / PAGE}: look whether pairs, values and strokes are right")


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
    require_none(report.problems)


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
