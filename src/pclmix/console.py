"""Where text goes: what is meant for people to stderr, results that were asked for to stdout; no colour into a pipe.

File names may hold square brackets, so nothing printed is read as Rich's markup.
"""

import sys
from collections.abc import Callable

from rich.console import Console

from pclmix.errors import InputError


def stderr_console() -> Console:
    """The console for people."""
    return Console(stderr=True, soft_wrap=True, markup=False, no_color=not sys.stderr.isatty())


def stdout_console() -> Console:
    """The console for results."""
    return Console(soft_wrap=True, markup=False)


def asker() -> Callable[[str], str] | None:
    """What asks a question and gives the line that is answered, None where nobody sits at a terminal."""
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _ask(question: str) -> str:
    print(question, end=" ", file=sys.stderr, flush=True)
    if not (line := sys.stdin.readline()):
        print(file=sys.stderr)
        raise InputError("the question above: no answer, expected one (or the options that say it)")
    return line.strip()
