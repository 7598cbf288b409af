"""Where text goes: what is meant for people to stderr, results that were asked for to stdout; no colour into a pipe.

File names may hold square brackets, so nothing printed is read as Rich's markup.
"""

import sys

from rich.console import Console


def stderr_console() -> Console:
    """The console for people."""
    return Console(stderr=True, soft_wrap=True, markup=False, no_color=not sys.stderr.isatty())


def stdout_console() -> Console:
    """The console for results."""
    return Console(soft_wrap=True, markup=False)
