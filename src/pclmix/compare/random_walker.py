"""Labels grown from the scribbles by a random walker (Grady, PAMI 2006)."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.progress import Progress
from torch import Tensor, nn

from pclmix.compare.base import Losses, Method
from pclmix.compare.mumford_shah import PUBLISHED_DEVIATION
from pclmix.config import Plan, Tree
from pclmix.console import stderr_console
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.cache import cache_folder
from pclmix.data.crops import crop_labels
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.labels import IGNORE
from pclmix.method.supervision import partial_cross_entropy

FORMAT = 1


class RandomWalkerSettings(Tree):
    """What the random walker has to set."""

    beta: float = Field(100.0, ge=0)
    """β: how much an edge stops the walker. Grady's, for images of 0..1."""


class RandomWalker(Method):
    """CE on labels grown once from the strokes, a slice at a time.

    Intensities are times `PUBLISHED_DEVIATION`, which is ours: it brings images of deviation 1 to the scale of 0..1.
    Grown labels are kept in the cache folder, a file a case.
    """

    name = "random_walker"
    summary = "cross entropy on labels grown from the strokes by a random walker"
    citation = "Grady, Random Walks for Image Segmentation, PAMI 2006"
    OwnSettings = RandomWalkerSettings
    settings: RandomWalkerSettings

    def __init__(self, net: nn.Module, plan: Plan, settings: RandomWalkerSettings) -> None:
        super().__init__(net, plan, settings)
        self.grown: list[NDArray[np.uint8]] = []

    def prepare(self, source: BatchSource) -> None:
        """Grow the labels of every training slice, or read those that an earlier run grew."""
        places = source.places_by_case()
        files = {case: self._file(source, case, of_case) for case, of_case in places.items()}
        missing = [case for case, path in files.items() if not path.exists()]
        console = stderr_console()
        with Progress(console=console, disable=not (missing and console.is_terminal), transient=True) as bar:
            for case in bar.track(missing, description="growing labels"):
                grown = [
                    grow(source.image(place), source.strokes(place), source.plan.spacing, self.settings.beta)
                    for place in places[case]
                ]
                with atomic_path(files[case]) as temporary, temporary.open("wb") as file:
                    np.save(file, np.stack(grown))
        # Slices are numbered case by case, so that those of all cases in a row are in order.
        self.grown = [label for path in files.values() for label in _read(path)]

    def _file(self, source: BatchSource, case: int, places: list[int]) -> Path:
        """Where a case's grown labels are kept: named by its content, its strokes and what they are grown with."""
        digest = hashlib.sha256(repr((FORMAT, self.settings.beta, source.plan.spacing)).encode())
        for place in places:
            digest.update(repr(source.slices[place][1]).encode())
            digest.update(np.ascontiguousarray(source.strokes(place)).tobytes())
        return cache_folder() / f"{source.cases[case].key}_walker_{digest.hexdigest()[:16]}.npy"

    def losses(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """Cross entropy on the grown labels."""
        loss = partial_cross_entropy(self.net(batch.image), crop_labels(self.grown, batch), batch.valid)
        return Losses(loss, {"supervised": loss.detach()})

    def panels(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Image, scribble, grown label and prediction."""
        return {
            "image": batch.image,
            "scribble": batch.scribble,
            "grown label": crop_labels(self.grown, batch),
            "prediction": self.net(batch.image).argmax(dim=1),
        }


def grow(
    image: NDArray[np.float16], strokes: NDArray[np.uint8], spacing: tuple[float, float], beta: float
) -> NDArray[np.uint8]:
    """(H, W): the class whose strokes a walker from each pixel reaches first, most likely; strokes keep theirs.

    A step between neighbours has the weight exp(-β |Δx|²), Δx the difference of intensity on the scale of 0..1, over
    the ratio of the step to the finer spacing. `image`: (C, H, W), deviation 1; `strokes`: (H, W), 0..K-1 or IGNORE;
    `spacing`: mm, (row, column). One class alone would fill the slice: background does, a foreground class stays as it
    is drawn (ours). A slice of one intensity stays as it is drawn, too.
    """
    from skimage.segmentation import random_walker  # slow to import, and every command knows all methods

    drawn = np.unique(strokes[strokes != IGNORE])
    if list(drawn) == [0]:
        return np.zeros_like(strokes)
    pixels = np.moveaxis(np.asarray(image, np.float64), 0, -1)
    deviation = float(pixels.std())
    if len(drawn) < 2 or deviation == 0 or not (strokes == IGNORE).any():
        return np.array(strokes)
    # scikit-image closes gaps in the numbering of the seeds, so they get their places among the drawn classes.
    seeds = np.where(strokes == IGNORE, 0, np.searchsorted(drawn, strokes) + 1)
    # scikit-image divides its beta by 10 times the deviation and by the root of the number of channels.
    scaled = beta * PUBLISHED_DEVIATION**2 * 10 * deviation * math.sqrt(pixels.shape[-1])
    relative = np.asarray(spacing) / min(spacing)
    found = random_walker(pixels, seeds, beta=scaled, mode="bf", spacing=relative, channel_axis=-1)
    return np.where(found > 0, drawn[found - 1], IGNORE).astype(np.uint8)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        labels: NDArray[np.uint8] = np.load(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run again") from None
    return labels
