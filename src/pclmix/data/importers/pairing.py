"""Images and labels find each other by name, and each pair knows by which rule."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pclmix.data.formats.listing import image_files
from pclmix.data.importers.builder import files_below
from pclmix.data.volume import by_channel, count_channels
from pclmix.errors import InputError

LABEL_NAMES = "label|labels|seg|segmentation|scribble|scribbles|mask|annotation|annotations|gt|manual"
LABEL_ENDING = re.compile(f"[-_. ]({LABEL_NAMES})$", re.IGNORECASE)
"""By which a label file is known."""

ENDINGS = f"[-_. ]({LABEL_NAMES}|image|img)"


def _channel_aside(name: str) -> str:
    return re.sub(r"_0000$", "", name)


def _endings_aside(name: str) -> str:
    return re.sub(f"{ENDINGS}$", "", _channel_aside(name), flags=re.IGNORECASE)


RULES: dict[str, Callable[[str], str]] = {
    "same name": str,
    "channel number aside": _channel_aside,
    "ending aside": _endings_aside,
    "ending and capitals aside": lambda name: _endings_aside(name).casefold(),
}
"""Rules, the strictest first; under each of them a label belongs to the one image whose name becomes the same."""


@dataclass(frozen=True)
class Pair:
    """A case: `images`, a file a channel; its `label`, or None; the `rule` that found the label."""

    case: str
    images: tuple[Path, ...]
    label: Path | None
    rule: str


@dataclass(frozen=True)
class Pairing:
    """All cases of two folders, by name. `alone` are labels without an image; `problems` forbid an import."""

    images: Path
    labels: Path
    pairs: tuple[Pair, ...]
    alone: tuple[Path, ...]
    problems: tuple[str, ...]
    channels: int

    @property
    def labelled(self) -> list[tuple[Pair, Path]]:
        """The cases that have a label, with it."""
        return [(pair, pair.label) for pair in self.pairs if pair.label is not None]

    @property
    def is_colour(self) -> bool:
        """Whether the images are RGB, one file a case."""
        return self.channels == 3 and all(len(pair.images) == 1 for pair in self.pairs)


def find_pairs(images: Path, labels: Path) -> Pairing:
    """Pair the files of two folders. A folder inside the other is left out of it.

    Raises `InputError` where there is nothing to pair: no image, no label, or no label that is named like an image.
    """
    if images.exists() and labels.exists() and images.samefile(labels):
        raise InputError(f"{labels}: the folder of the images too, expected the labels in a folder of their own")
    cases = by_channel(_files(images, without=labels))
    if not cases:
        raise InputError(f"{images}: no image, expected files of a format that is read, or DICOM series in folders")
    index = Index(cases)
    found: dict[str, tuple[Path, str]] = {}
    alone, problems = [], []
    for path, stem in _files(labels, without=images).items():
        case, rule = index.find(stem)
        if case is None:
            alone.append(path)
            problems.append(f"{path}: a label without its image, expected an image named {stem} in {images}")
        elif case in found:
            other = found[case][0]
            problems.append(f"{path}: two label files for one case, {case}, the other is {other}, expected one")
        else:
            found[case] = path, rule
    if not found:
        raise InputError(_nothing_paired(images, labels, index, alone))
    pairs = tuple(
        Pair(case, tuple(files[number] for number in sorted(files)), *found.get(case, (None, "")))
        for case, files in sorted(cases.items())
    )
    channels = {pair.case: count_channels(pair.images) for pair in pairs}
    highest = max(channels.values())
    for pair in pairs:
        numbers = sorted(cases[pair.case])
        if channels[pair.case] != highest or numbers != list(range(len(numbers))):
            told = f"channels {numbers}" if len(numbers) == channels[pair.case] else f"{channels[pair.case]} channels"
            problems.append(f"{pair.images[0]}: {told} of this case, expected 0-{highest - 1}")
    return Pairing(images, labels, pairs, tuple(alone), tuple(problems), highest)


class Index:
    """The cases of the images by what is left of their names under each rule."""

    def __init__(self, cases: Iterable[str]) -> None:
        self.cases = list(cases)
        self.by_rule: dict[str, dict[str, list[str]]] = {rule: {} for rule in RULES}
        for rule, key in RULES.items():
            for case in self.cases:
                self.by_rule[rule].setdefault(key(case), []).append(case)

    def find(self, stem: str, but: str | None = None) -> tuple[str | None, str]:
        """The case of a label by the first rule that finds one and no other, and the rule; `but` aside."""
        for rule, key in RULES.items():
            matching = [case for case in self.by_rule[rule].get(key(stem), []) if case != but]
            if len(matching) == 1:
                return matching[0], rule
        return None, ""


def _files(folder: Path, without: Path) -> dict[Path, str]:
    """The files below a folder, those below `without` left out if that is a folder in it.

    Raises `InputError` for two of one name.
    """
    place, other = folder.resolve(), without.resolve()
    inside = other.is_relative_to(place)
    seen: dict[str, Path] = {}
    for path, stem in files_below(folder).items():
        if inside and path.resolve().is_relative_to(other):
            continue
        if stem in seen:
            raise InputError(
                f"{path}: the same case twice, the other file is {seen[stem]}, "
                "expected a name of its own for each case (folders do not count)"
            )
        seen[stem] = path
    return {path: stem for stem, path in seen.items()}


def _nothing_paired(images: Path, labels: Path, index: Index, alone: Sequence[Path]) -> str:
    """The line where no label belongs to an image, with the place where the labels seem to be."""
    hint = ""
    if beside := next((case for case in index.cases if index.find(case, but=case)[0]), None):
        hint = f" ({beside} among the images looks like one: move the labels to a folder of their own)"
    elif other := _elsewhere(images, labels, index):
        hint = f" (files named so lie in {other})"
    if not alone:
        return f"{labels}: no label file, expected label files named like the images{hint}"
    return f"{labels}: no label is named like an image ({alone[0].name}), expected {index.cases[0]} or the like{hint}"


def _elsewhere(images: Path, labels: Path, index: Index) -> Path | None:
    """A folder beside that of the labels in which a file is named like an image."""
    known = {path.resolve() for path in (images, labels)}
    for place in sorted(labels.resolve().parent.iterdir()):
        if place.name.startswith(".") or place in known or not place.is_dir():
            continue
        try:
            stems = image_files(place).values()
        except InputError:  # not readable, or several series: no place to point at
            continue
        if any(index.find(stem)[0] for stem in stems):
            return place
    return None
