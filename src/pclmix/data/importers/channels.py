"""What the channels of a data set are called. A name decides how a channel is normalised: CT by its own rule."""

from collections.abc import Sequence
from pathlib import Path

from pclmix.data.formats.registry import DICOM, format_of
from pclmix.data.importers.pairing import Pairing
from pclmix.errors import InputError


def parse_channels(text: str) -> tuple[str, ...]:
    """`CT,PET` as names. Raises `InputError` for an empty one."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise InputError(f"--channels {text}: a name is empty, expected NAME,NAME")
    return names


def channel_names(pairing: Pairing, told: Sequence[str] | None) -> tuple[str, ...]:
    """A name a channel: as `told`, else R, G, B of colours, CT where every case has a DICOM series of that modality,
    channel0 and so on of anything else.

    Raises `InputError` where as many names as channels were not told.
    """
    if told is not None:
        if len(told) != pairing.channels:
            names = "name" if len(told) == 1 else "names"
            raise InputError(
                f"--channels {','.join(told)}: {len(told)} {names}, expected {pairing.channels}, "
                f"one a channel of {pairing.images}"
            )
        return tuple(told)
    if pairing.is_colour:
        return ("R", "G", "B")
    if any(len(pair.images) != pairing.channels for pair in pairing.pairs):  # colours among several files
        return tuple(f"channel{n}" for n in range(pairing.channels))
    return tuple(
        "CT" if all(_is_ct(pair.images[n]) for pair in pairing.pairs) else f"channel{n}"
        for n in range(pairing.channels)
    )


def _is_ct(image: Path) -> bool:
    """Whether an image is a DICOM series that says so."""
    if format_of(image) is not DICOM:
        return False
    from pclmix.data.formats import dicom  # slow to import, and of no use for other formats

    return dicom.modality(image) == "CT"
