"""What each value in the user's label files means. It is told or asked for, never guessed."""

import re
import shlex
from dataclasses import dataclass

from pclmix.errors import InputError

BACKGROUND, UNLABELLED = "background", "unlabelled"


@dataclass(frozen=True)
class Meanings:
    """`structures`: name -> value in the files, in any order; the other two values may be unknown."""

    structures: dict[str, int]
    background: int | None = None
    unlabelled: int | None = None

    @property
    def classes(self) -> dict[str, int]:
        """Name -> label in the data set, without ignore. Structures are numbered by their values, so that whoever
        paints 1 to K meets the same values again in predictions, whatever was typed first."""
        by_value = sorted(self.structures, key=self.structures.__getitem__)
        return {BACKGROUND: 0, **{name: label for label, name in enumerate(by_value, start=1)}}

    @property
    def named(self) -> dict[str, int]:
        """Name -> value in the files, of the structures and the background."""
        return self.structures | ({} if self.background is None else {BACKGROUND: self.background})

    @property
    def labels(self) -> dict[int, int]:
        """Value in the files -> label in the data set; the ignore label is one above the last class."""
        found = {value: self.classes[name] for name, value in self.named.items()}
        if self.unlabelled is not None:
            found[self.unlabelled] = len(self.structures) + 1
        return found

    @property
    def renumbered(self) -> dict[str, tuple[int, int]]:
        """Name -> value in the files and label in the data set, of the structures where these differ."""
        labels = self.classes
        return {name: (value, labels[name]) for name, value in self.structures.items() if value != labels[name]}

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


def known_name(name: str) -> str:
    """A name; those of what is no structure in small letters."""
    return name.lower() if name.lower() in (BACKGROUND, UNLABELLED) else name


def parse_classes(text: str) -> dict[str, int]:
    """`RV=1,Myo=2` as name -> value in the user's files, background and unlabelled in small letters. Raises
    `InputError` for anything else, and for `ignore`, which is nnU-Net's name of a label, not of a class."""
    classes: dict[str, int] = {}
    for part in text.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        name = known_name(name)
        if not separator or not name or not re.fullmatch(r"\d+", value):
            raise InputError(f"--classes {text}: found {part!r}, expected NAME=VALUE,NAME=VALUE")
        if name.lower() == "ignore":
            raise InputError(f"--classes {text}: `{name}` is no structure, expected --unlabelled {value}")
        if name in classes or int(value) in classes.values():
            raise InputError(f"--classes {text}: {part.strip()} stands twice, expected names and values once each")
        classes[name] = int(value)
    return classes


def as_told(classes: dict[str, int] | None, unlabelled: int | None, background: int | None) -> Meanings:
    """The meanings that the options give. `background` and `unlabelled` may also stand among the classes.

    Raises `InputError` for classes without a structure, for two values of one name and for a value with two meanings.
    """
    structures = dict(classes or {})
    background = _one_value(BACKGROUND, background, structures.pop(BACKGROUND, None))
    unlabelled = _one_value(UNLABELLED, unlabelled, structures.pop(UNLABELLED, None))
    if classes is not None and not structures:
        raise InputError("--classes: no class but background or unlabelled, expected at least one structure")
    taken = set(structures.values())
    for value, name in ((background, BACKGROUND), (unlabelled, UNLABELLED)):
        if value is not None and value in taken:
            raise InputError(f"--{name} {value}: this value has another meaning already, expected one meaning a value")
        if value is not None:
            taken.add(value)
    return Meanings(structures, background, unlabelled)


def _one_value(name: str, option: int | None, listed: int | None) -> int | None:
    """The value of a name that may be told by its option and among the classes."""
    if option is not None and listed is not None and option != listed:
        raise InputError(f"--{name} {option}: --classes says {name}={listed}, expected one value")
    return listed if option is None else option
