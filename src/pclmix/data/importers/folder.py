"""Anybody's images and scribbles. What 0 means is never guessed: painting tools and research data disagree on it."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pclmix.data.grid import onto_grid
from pclmix.data.importers.builder import ImportReport, building, files_below
from pclmix.data.importers.segments import by_name
from pclmix.data.volume import by_channel, count_channels, read_label, read_stored
from pclmix.errors import InputError


def parse_classes(text: str) -> dict[str, int]:
    """`RV=1,Myo=2` as name -> value in the user's files. Raises `InputError` for anything else."""
    classes: dict[str, int] = {}
    for part in text.split(","):
        name, separator, value = part.strip().partition("=")
        if not separator or not name or not re.fullmatch(r"\d+", value.strip()):
            raise InputError(f"--classes {text}: found {part!r}, expected NAME=VALUE,NAME=VALUE")
        if name.strip() == "ignore":
            raise InputError(f"--classes {text}: `ignore` is no structure, expected --unlabelled {value.strip()}")
        if name in classes or int(value) in classes.values():
            raise InputError(f"--classes {text}: {part.strip()} stands twice, expected names and values once each")
        classes[name.strip()] = int(value)
    return classes


def import_folder(
    images: Path,
    labels: Path,
    out: Path,
    *,
    classes: dict[str, int],
    unlabelled: int | None = None,
    background: int | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Make a dataset folder of images (CASE.nii.gz or CASE_0000.nii.gz, ...) and label files of the same names, of any
    format that is read; an RGB image is three channels.

    A segment of a .seg.nrrd or DICOM SEG that has a class's name, or is named background, is that class, whatever its
    value (see `by_name`).
    Every value in the labels must be a class, `background` or `unlabelled`. `background` may also be given as a class
    of that name. Raises `InputError` naming the values found where one of them is left without a meaning.
    """
    images, labels = Path(images), Path(labels)
    foreground = {name: value for name, value in classes.items() if name != "background"}
    background = classes.get("background", background)
    named = foreground if background is None else foreground | {"background": background}
    if not foreground:
        raise InputError("--classes: no class but background, expected at least one structure")
    meanings = {value: index for index, value in enumerate(foreground.values(), start=1)}
    ignore = len(foreground) + 1
    for value, index, flag in ((background, 0, "--background"), (unlabelled, ignore, "--unlabelled")):
        if value is not None and value in meanings:
            raise InputError(f"{flag} {value}: this value has another meaning already, expected one meaning a value")
        if value is not None:
            meanings[value] = index
    cases = by_channel(files_below(images))
    scribbles: dict[str, Path] = {}
    for path, stem in files_below(labels).items():
        case = _case_of_label(stem, cases)
        if case is None:
            raise InputError(f"{path}: a label without its image, expected an image named {stem} in {images}")
        if case in scribbles:
            raise InputError(f"{path}: two label files for one case, the other is {scribbles[case]}, expected one")
        scribbles[case] = path
    if not scribbles:
        raise InputError(f"{labels}: no label file, expected label files named like the images")
    counts = _count_values(scribbles, named)
    _require_meanings(counts, meanings, unlabelled, background, labels)
    channels = {case: count_channels(files.values()) for case, files in cases.items()}
    highest = max(channels.values())
    report = ImportReport()
    names = {"background": 0, **{name: index for index, name in enumerate(foreground, start=1)}}
    is_colour = highest == 3 and all(len(files) == 1 for files in cases.values())
    channel_names = ("R", "G", "B") if is_colour else tuple(f"channel{index}" for index in range(highest))
    with building(Path(out), Path(out).name, names, channel_names, report, overwrite) as builder:
        builder.warnings.append("each case counts as a patient of its own; edit `patients` in dataset.json if not so")
        if background is None or background not in counts:
            builder.warnings.append(f"{labels}: no stroke on the background, so a model has nothing to tell it from")
        if unlabelled is None or unlabelled not in counts:
            builder.warnings.append(f"{labels}: no pixel is unlabelled; are these dense labels rather than scribbles?")
        for case, files in sorted(cases.items()):
            if channels[case] != highest or sorted(files) != list(range(len(files))):
                first = next(iter(files.values()))
                found = f"channels {sorted(files)}" if len(files) == channels[case] else f"{channels[case]} channels"
                raise InputError(f"{first}: {found} of this case, expected 0-{highest - 1}")
            builder.add_image(case, case, [files[index] for index in sorted(files)])
            if case not in scribbles:
                builder.without_scribble(files[0], dense=False)
                continue
            label = onto_grid(read_stored(files[0])[0], by_name(read_label(scribbles[case]), named))
            mapped = np.zeros(label.array.shape, np.uint8)
            for value, index in meanings.items():
                mapped[label.array == value] = index
            builder.add_mapped_label(case, label, mapped)
    return report


def _case_of_label(stem: str, cases: Mapping[str, object]) -> str | None:
    """The case a label file belongs to: by its name as it is, else without an ending that says it is a label."""
    names = (stem, re.sub(r"_0000$", "", stem), re.sub(r"_(label|labels|seg|scribble|scribbles)$", "", stem))
    return next((name for name in names if name in cases), None)


def _count_values(files: dict[str, Path], classes: dict[str, int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for path in files.values():
        label = by_name(read_label(path), classes)
        values, sizes = np.unique(label.array, return_counts=True)
        if label.segments is not None:
            counts.setdefault(0, 0)  # round the part of the image that it may cover
        for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + size
    return counts


def _require_meanings(
    counts: dict[int, int], meanings: dict[int, int], unlabelled: int | None, background: int | None, labels: Path
) -> None:
    unknown = [value for value in counts if value not in meanings]
    if not unknown:
        return
    total = sum(counts.values())
    shares = ", ".join(f"{value}: {size / total:.2%}" for value, size in sorted(counts.items()))
    missing = [
        flag for flag, value in (("--unlabelled", unlabelled), ("--background", background)) if value is None
    ] or ["--classes"]
    raise InputError(
        f"{labels}: value {unknown[0]} has no meaning (shares of the voxels: {shares}), "
        f"expected {' or '.join(missing)} to say what it is"
    )
