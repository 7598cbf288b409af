"""Methods side by side: methods, experiment, report."""

from pathlib import Path
from typing import Annotated

import typer

from pclmix.cli.common import app, command, say


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
        say(f"pclmix: {len(failed)} job(s) failed, the first {failed[0][0]}: {failed[0][1]}; --resume tries them again")
        raise typer.Exit(1)


@command(app, "report")
def report(results: Annotated[Path, typer.Argument(help="The results folder of an experiment.")]) -> None:
    """Write RESULTS/report from what an experiment left: tables, tests, figures; nothing is trained."""
    from pclmix.report.write import comparison_text, write_report

    paths = write_report(results)
    print(comparison_text(results))
    for path in paths:
        print(path)
