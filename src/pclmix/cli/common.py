"""What all commands share: the app, how a command ends, and lines for people."""

import errno
import functools
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import typer

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


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    """A warning for people, on stderr."""
    say(f"warning: {text}")


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
                say(f"pclmix: {' '.join(str(error).split())}")
                raise typer.Exit(2) from None
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                say(f"pclmix: {error.filename or 'disk'}: {error.strerror}, expected a readable, writable place")
                raise typer.Exit(2) from None
            except KeyboardInterrupt as error:
                say(f"pclmix: {str(error) or 'interrupted'}")
                raise typer.Exit(130) from None

        return group.command(name)(run)

    return register


def require_none(problems: list[str]) -> None:
    """Raise `InputError` with the first of the problems that a report has listed."""
    if problems:
        more = f" (and {len(problems) - 1} more, listed above)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
