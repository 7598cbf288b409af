"""The one error a user can cause; the command line turns it into one line on stderr and exit code 2."""

from collections.abc import Sequence


class InputError(Exception):
    """The user's input is wrong. The message is one line: the file, what was found, what was expected."""


class SeveralVolumesError(InputError):
    """A file holds several volumes (4-D), such as the frames of a beating heart, where one is expected."""


def some(names: Sequence[str], most: int = 5) -> str:
    """Names for a line, the first ones and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
