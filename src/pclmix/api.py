"""pclmix in Python: `pclmix.load` a model and predict arrays; `pclmix.train` one.

model = pclmix.load("run")
labels = model.predict(array, spacing=(8.0, 1.5, 1.5)).labels
"""

import reprlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from pclmix.config import Plan, make_settings
from pclmix.data.formats.reading import short
from pclmix.data.volume import Geometry, Volume
from pclmix.errors import InputError
from pclmix.infer import Prediction, predict_volume
from pclmix.model_file import load_model
from pclmix.network.fast import for_inference

KNOWN_SHAPES = "numbers, (slices, H, W), (C, slices, H, W) or (H, W)"


@dataclass(frozen=True)
class Model:
    """A trained network, ready to predict, and its `plan`: what it expects of an image and what it gives back."""

    net: nn.Module
    plan: Plan
    device: torch.device

    @property
    def classes(self) -> dict[str, int]:
        """Label value by name, background 0."""
        return dict(self.plan.classes)

    def predict(
        self, array: ArrayLike, spacing: Sequence[float], *, probabilities: bool = False, uncertainty: bool = False
    ) -> Prediction:
        """Segment one image; the labels that `pclmix predict` writes for a file of the same voxels.

        `array`: (slices, H, W), (C, slices, H, W), or (H, W) for one slice; intensities as the scanner gave them.
        `spacing`: mm, (slice, row, column) or (row, column); the distance of slices changes nothing. Rows and columns
        have to lie as in training, where a row is a step along the first of the file's axes in the plane (x of NIfTI):
        of an array of SimpleITK or pydicom, which has x last, give `array.swapaxes(-1, -2)`. All slices of a
        volume go in together, for it is normalised as a whole and its largest pieces are found in 3-D.

        Gives `labels`, uint8, (slices, H, W), or (H, W) for one of two dimensions, and where asked for `probabilities`,
        float32, of the same shape with the K classes last, and `uncertainty`, float32, entropy / ln K. Raises
        `InputError` for another number of channels or dimensions, for values that are not finite, and for a spacing
        that is none.
        """
        values = _array(array)
        channels = len(self.plan.channels)
        stack = _channels(values)
        if len(stack) != channels:
            raise InputError(f"array: shape {values.shape} has {len(stack)} channel(s), expected {channels}")
        if not np.isfinite(stack).all():
            raise InputError(f"array: {int((~np.isfinite(stack)).sum())} values are NaN or infinite, expected numbers")
        geometry = Geometry(_three(spacing), np.eye(3), np.zeros(3))
        images = [Volume(channel, geometry, Path("array"), None) for channel in stack]
        plan = self.plan.model_copy(update={"slice_axis": "0"})  # whatever the spacing, an array's slices come first
        found = predict_volume(
            self.net, plan, images, self.device, probabilities=probabilities, uncertainty=uncertainty
        )
        return found if values.ndim > 2 else _only_slice(found)


def load(model: str | Path) -> Model:
    """A model by the name of a shipped one, or from a run folder or a model file; on the GPU where there is one.

    Raises `InputError` as `model_file.load_model` does.
    """
    if not isinstance(model, str | PathLike):
        known = "a run folder, a model file or the name of a shipped model"
        raise InputError(f"model: found {reprlib.repr(model)}, expected {known}")
    net, plan = load_model(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Model(for_inference(net, device), plan, device)


def train(
    dataset: str | Path,
    out: str | Path,
    *,
    preset: str = "cpu",
    overrides: Sequence[str] = (),
    method: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    val_cases: str | Path | Collection[str] | None = None,
    seed: int | None = None,
    overwrite: bool = False,
) -> Model:
    """Learn a model from the scribbles of a dataset folder, leave the run in the folder `out`, and load it.

    `preset`: cpu, gpu or paper; `overrides`: "section.name=value" each, as `--set` takes them. `steps` or `minutes` say
    how long, `val_cases` which patients or cases are validated on and never trained on: a file, or their names. The
    scores lie in OUT/validation.json. `pclmix.train.train` does the work and has more to choose, such as a resume.
    Raises `InputError` where the data set, a setting or the folder is not fit, `Interrupted` on Ctrl-C.
    """
    from pclmix.train import train as train_in_folder

    if steps is not None and minutes is not None:
        raise InputError("steps and minutes: found both, expected one of them")
    result = train_in_folder(
        Path(dataset),
        Path(out),
        settings=make_settings(preset, tuple(overrides)),
        method=method,
        steps=steps,
        minutes=minutes,
        val_cases=Path(val_cases) if isinstance(val_cases, str) else val_cases,
        seed=seed,
        overwrite=overwrite,
    )
    return load(result.run)


def _array(array: ArrayLike) -> NDArray[np.generic]:
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU or with a gradient
        raise InputError(f"array: no array ({short(error)}), expected {KNOWN_SHAPES}") from None


def _channels(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Any shape that `Model.predict` takes as (C, slices, H, W), float32."""
    if values.dtype.kind not in "iufb" or values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise InputError(f"array: {values.dtype} of shape {values.shape}, expected {KNOWN_SHAPES}")
    numbers = values.astype(np.float32)
    return numbers if numbers.ndim == 4 else numbers.reshape(1, *(1,) * (3 - numbers.ndim), *numbers.shape)


def _three(spacing: Sequence[float]) -> tuple[float, float, float]:
    """Spacing of slices, rows and columns; the first does not matter, so it may be missing."""
    try:
        numbers = [] if isinstance(spacing, str) else [float(value) for value in spacing]
    except (TypeError, ValueError):  # no sequence, or not of numbers
        numbers = []
    if len(numbers) not in (2, 3) or not all(np.isfinite(value) and value > 0 for value in numbers):
        raise InputError(f"spacing: found {reprlib.repr(spacing)}, expected (slice, row, column) or (row, column), mm")
    return (numbers[0] if len(numbers) == 3 else 1.0, numbers[-2], numbers[-1])


def _only_slice(found: Prediction) -> Prediction:
    return replace(
        found,
        labels=found.labels[0],
        probabilities=None if found.probabilities is None else found.probabilities[0],
        uncertainty=None if found.uncertainty is None else found.uncertainty[0],
    )
