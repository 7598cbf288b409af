"""Writing without ever losing what was there: a temporary name first, then a rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pclmix.errors import InputError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written (full, read-only) into an `InputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot write ({reason}), expected a writable disk with room") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on failure.

    The temporary name keeps all suffixes (`.nii.gz`), because writers choose the format by them.
    Who may read `path` is what the user's umask says, even where a writer (safetensors) is stricter.
    Raises `InputError` when the disk refuses (full, read-only); `path` is then as it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            permissions = temporary.stat().st_mode
            temporary.unlink()
            yield temporary
            if temporary.stat().st_mode != permissions:  # disks without permissions may refuse to set any
                temporary.chmod(permissions)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # where it could not be made there is nothing to remove
            temporary.unlink(missing_ok=True)


def claim_file(path: Path, *, overwrite: bool = False) -> Path:
    """Refuse `path` as an output file if it holds anything, unless told to overwrite it; makes and changes nothing.

    For the beginning of a command, so that nobody waits for what cannot be written. Raises `InputError`.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: found a folder, expected a file for the output")
    if path.exists() and path.stat().st_size and not overwrite:
        raise InputError(f"{path}: the file exists, expected a new name (or --overwrite)")
    return path


def claim_folder(path: Path, *, overwrite: bool = False, option: str = "--overwrite") -> Path:
    """Make `path` an output folder; refuse a non-empty one unless the user allowed it, by the option named.

    Nothing is deleted here: files of the same name are replaced one by one as they are written, and what else lies in
    the folder stays. Raises `InputError` if `path` is a file or not empty.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: found a file, expected a folder for the output")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise InputError(f"{path}: the output folder is not empty, expected an empty one (or {option})")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot make the output folder ({error.strerror or error})") from error
    return path
