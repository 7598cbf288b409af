"""What each value in the user's label files means. It is told or asked for, never guessed."""

import re
import shlex
from dataclasses import dataclass

from pclmix.errors import InputError

BACKGROUND, UNLABELLED = "background", "unlabelled"


@dataclass(frozen=True)
class Meanings:
    """`structures`: name -> value in the files, in the order of the classes; the other two values may be unknown."""

    structures: dict[str, int]
    background: int | None = None
    unlabelled: int | None = None

    @property
    def classes(self) -> dict[str, int]:
        """Name -> label in the data set, without ignore."""
        return {BACKGROUND: 0, **{name: index for index, name in enumerate(self.structures, start=1)}}

    @property
    def named(self) -> dict[str, int]:
        """Name -> value in the files, of the structures and the background."""
        return self.structures | ({} if self.background is None else {BACKGROUND: self.background})

    @property
    def labels(self) -> dict[int, int]:
        """Value in the files -> label in the data set; the ignore label is one above the last class."""
        found = {value: index for index, value in enumerate(self.structures.values(), start=1)}
        if self.background is not None:
            found[self.background] = 0
        if self.unlabelled is not None:
            found[self.unlabelled] = len(self.structures) + 1
        return found

    def of(self, value: int) -> str | None:
        """The name of a value, or None where nobody said what it means."""
        if value == self.unlabelled:
            return UNLABELLED
        return next((name for name, known in self.named.items() if known == value), None)

    def flags(self) -> str:
        """The options that say the same, for a shell."""
        parts = []
        if self.structures:
            listed = ",".join(f"{name}={value}" for name, value in self.structures.items())
            parts.append(f"--classes {shlex.quote(listed)}")
        if self.background is not None:
            parts.append(f"--background {self.background}")
        if self.unlabelled is not None:
            parts.append(f"--unlabelled {self.unlabelled}")
        return " ".join(parts)


def parse_classes(text: str) -> dict[str, int]:
    """`RV=1,Myo=2` as name -> value in the user's files. Raises `InputError` for anything else."""
    classes: dict[str, int] = {}
    for part in text.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not name or not re.fullmatch(r"\d+", value):
            raise InputError(f"--classes {text}: found {part!r}, expected NAME=VALUE,NAME=VALUE")
        if name == "ignore":
            raise InputError(f"--classes {text}: `ignore` is no structure, expected --unlabelled {value}")
        if name in classes or int(value) in classes.values():
            raise InputError(f"--classes {text}: {part.strip()} stands twice, expected names and values once each")
        classes[name] = int(value)
    return classes


def as_told(classes: dict[str, int] | None, unlabelled: int | None, background: int | None) -> Meanings:
    """The meanings that the options give. `background` may also be given as a class of that name.

    Raises `InputError` for classes without a structure and for a value with two meanings.
    """
    structures = {name: value for name, value in (classes or {}).items() if name != BACKGROUND}
    background = (classes or {}).get(BACKGROUND, background)
    if classes is not None and not structures:
        raise InputError("--classes: no class but background, expected at least one structure")
    taken = set(structures.values())
    for value, flag in ((background, "--background"), (unlabelled, "--unlabelled")):
        if value is not None and value in taken:
            raise InputError(f"{flag} {value}: this value has another meaning already, expected one meaning a value")
        if value is not None:
            taken.add(value)
    return Meanings(structures, background, unlabelled)
