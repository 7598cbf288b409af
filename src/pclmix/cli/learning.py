"""A model from scribbles: demo, train."""

from pathlib import Path
from typing import Annotated

import typer

from pclmix.cli.common import Overwrite, app, command
from pclmix.errors import InputError


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
