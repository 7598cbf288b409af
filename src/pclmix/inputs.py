"""What `predict` is given, files and folders, becomes cases, and what is odd about them is told.

Of a folder the images are taken; labels that lie beside them are left out, and that is said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pclmix.config import Plan
from pclmix.data.formats.listing import image_files
from pclmix.data.formats.picture import flat_axis
from pclmix.data.formats.registry import DICOM, READABLE, format_of, stem
from pclmix.data.grid import numbers
from pclmix.data.importers.pairing import LABEL_ENDING
from pclmix.data.resample import plan_axis
from pclmix.data.volume import (
    Volume,
    by_channel,
    count_channels,
    few_values,
    in_plane,
    read_channels,
    read_stored,
    require_same_grid,
    spacing_warning,
)
from pclmix.errors import InputError, some

FAR = 10
"""How many times larger or smaller than those trained on pixels are that are told of: more than organs of one kind
differ, and less than a wrong unit does."""


@dataclass(frozen=True)
class InputCase:
    """`files`, one a channel; an RGB image is three channels. `listed`: a folder was given, and they lie in it."""

    name: str
    files: tuple[Path, ...]
    listed: bool


def find_cases(
    inputs: Sequence[Path], channels: int, model: str, warn: Callable[[str], None] | None = None
) -> list[InputCase]:
    """The cases of files and folders; a file is always taken, of a folder the images.

    `warn` is told of labels in a folder. Raises `InputError` for what is missing, for a folder without images, and for
    cases of another number of channels than the `model` has. Whether a file can be read turns out when it is.
    """
    files: dict[Path, str] = {}
    labels: list[Path] = []
    for path in inputs:
        if path.is_dir():
            images, besides = _images_in(path)
            files |= images
            labels += besides
        elif path.is_file():
            files[path] = stem(path) or path.name
        else:
            raise InputError(f"{path}: no such file or folder, expected an image")
    if warn and (left_out := [path for path in labels if path not in files]):
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        told = "labels by their names and values, left out; name such a file itself to have it segmented"
        warn(f"{left_out[0]}{more}: {told}")
    named = set(inputs)
    cases = []
    for case, known in by_channel(files).items():
        paths = tuple(known[index] for index in sorted(known))
        count = _count(paths, channels)
        if count != channels or sorted(known) != list(range(len(known))):
            raise InputError(f"{paths[0]}: case {case} has {count} channel(s), expected {channels} as in {model}")
        cases.append(InputCase(case, paths, listed=not named.intersection(paths)))
    return cases


def read_case(case: InputCase) -> list[Volume]:
    """Its channels. Raises `InputError` as `read_channels` does, and where they have not the same grid."""
    images = [volume for path in case.files for volume in read_channels(path)]
    for other in images[1:]:
        require_same_grid(images[0], other)
    return images


def require_flat(path: Path) -> None:
    """Raise `InputError` for a volume; what cannot be read is told of when its turn comes."""
    try:
        shape = read_stored(path)[0].array.shape
    except InputError:
        return
    flat_axis(shape, path)


def spacing_remarks(images: Sequence[Volume], plan: Plan) -> dict[str, str]:
    """What to tell of a case's spacing, by kind: that it is missing, that it is far from that of training."""
    remarks = {"spacing": told} if (told := spacing_warning(images)) else {}
    image = images[0]
    spacing = in_plane(image.geometry.spacing, plan_axis(image, plan))
    if all(1 / FAR <= own / trained <= FAR for own, trained in zip(spacing, plan.spacing, strict=True)):
        return remarks
    why = "labels are hardly right where pixels are so unlike"
    if not image.geometry.sized:
        found = "no spacing in it, so 1 mm is assumed, expected pixels of about"
        return {"spacing": f"{image.path}: {found} {numbers(plan.spacing)} mm as in training; {why}"}
    found = f"pixels of {numbers(spacing)} mm, expected about {numbers(plan.spacing)} as in training"
    return remarks | {str(image.path): f"{image.path}: {found}; {why}, is their unit right?"}


def _images_in(folder: Path) -> tuple[dict[Path, str], list[Path]]:
    """The images of a folder with their stems, and its labels. Raises `InputError` where there is no image."""
    found = image_files(folder)
    labels = [path for path, name in found.items() if _is_label(path, name)]
    images = {path: name for path, name in found.items() if path not in labels}
    if images:
        return images, labels
    if labels:
        names = some([path.name for path in labels], 3)
        raise InputError(f"{folder}: labels alone ({names}), expected images, or such files by their own names")
    inside = [place.name for place in sorted(folder.iterdir()) if _holds_images(place)]
    if inside:
        found_there = f"no image in this folder itself, folders in it have some ({some(inside, 3)})"
        raise InputError(f"{folder}: {found_there}, expected those as inputs ({folder}/*)")
    raise InputError(f"{folder}: no image in this folder, expected {READABLE}")


def _is_label(path: Path, name: str) -> bool:
    """Whether a file is plainly a label: by its name or as a segmentation, and by its values."""
    if path.is_dir():
        return False
    format = format_of(path)
    is_segmentation = format is DICOM or format.module == "slicer"  # of DICOM images, the folder is listed
    return (is_segmentation or LABEL_ENDING.search(name) is not None) and few_values(path) is not None


def _holds_images(place: Path) -> bool:
    try:
        return place.is_dir() and not place.name.startswith(".") and bool(image_files(place))
    except InputError:  # it cannot be read or holds several series; there is something to name in any case
        return True


def _count(paths: Sequence[Path], channels: int) -> int:
    """Channels of a case; of files too damaged to tell as many as there should be, since reading says what is wrong."""
    try:
        return count_channels(paths)
    except InputError:
        return channels
