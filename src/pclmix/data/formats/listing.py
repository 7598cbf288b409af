"""The images and labels of a folder. A folder of DICOM slices is one image, named by the folder."""

from collections.abc import Iterable
from pathlib import Path

from pclmix.data.formats.registry import BY_SUFFIX, DICOM, is_dicom, stem, suffix_of
from pclmix.errors import InputError


def entries(folder: Path, names: Iterable[str]) -> dict[Path, str]:
    """Of the files of a folder those that are images or labels, with their stems; the folder itself for a DICOM series.

    Raises `InputError` for several DICOM series in it.
    """
    paths = sorted(folder / name for name in names)
    found = {
        path: name for path in paths if (name := stem(path)) is not None and BY_SUFFIX[suffix_of(path)] is not DICOM
    }
    if dicom := [path for path in paths if is_dicom(path)]:
        from pclmix.data.formats.dicom import entries as dicom_entries

        found |= dicom_entries(folder, dicom)
    return found


def image_files(folder: Path) -> dict[Path, str]:
    """Images and labels of a folder with their stems, sorted: its files, itself where it is a DICOM series, and folders
    in it that are one. Raises `InputError` if it cannot be read."""
    try:
        content = sorted(folder.iterdir())
        found = entries(folder, [path.name for path in content if path.is_file()])
        for place in content:
            if place.is_dir() and not place.name.startswith("."):
                names = [path.name for path in place.iterdir() if path.is_file()]
                found |= {path: name for path, name in entries(place, names).items() if path == place}
    except OSError as error:
        raise InputError(f"{error.filename}: cannot read ({error.strerror}), expected a folder of images") from None
    return dict(sorted(found.items()))
