"""The command line: parse, call the library, print. Torch is imported inside a command, never here."""

from typing import Annotated

import typer

from pclmix import __version__
from pclmix.cli import data, learning, studies, using  # noqa: F401  (they register their commands)
from pclmix.cli.common import app


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


def main() -> None:
    """Entry point of the `pclmix` command."""
    app()
