"""From NIfTI files to label files with MONAI, nibabel and PyTorch alone.

A case goes through as a dictionary: "image", the channels (C, X, Y, Z) as MONAI loads them; "slices" (S, C, h, w), what
the network takes; "probabilities" (S, K, h, w), what it gives; "labels", uint8, in the axis order of the image.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import Tensor
from torch.nn import functional

PIXELS_AT_ONCE = 2**20
"""Most pixels of a batch of slices."""

MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 1e-3}
"""Of a NIfTI header's codes of length, metre, mm and micrometre; mm where it says none."""


def find_cases(folder: str | Path, channels: int) -> list[dict[str, Any]]:
    """The cases of a folder: {"case": name, "image": files, a channel each}, sorted by name.

    CASE.nii.gz or CASE_0000.nii.gz is channel 0 of CASE, CASE_0001.nii.gz channel 1. Raises `ValueError` for a folder
    without images, for two files that are one channel of one case, and for a case that lacks a channel.
    """
    suffix = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
    visible = sorted(path for path in Path(folder).iterdir() if path.name[0] != ".")
    stems = {path: suffix.sub("", path.name) for path in visible if suffix.search(path.name)}
    known = set(stems.values())
    cases: dict[str, dict[int, str]] = {}
    for path, stem in stems.items():
        name, number = stem[:-5], stem[-5:]
        is_channel = re.fullmatch(r"_\d{4}", number) and f"{name}_0000" in known
        case, channel = (name, int(number[1:])) if is_channel else (stem, 0)
        other = cases.setdefault(case, {}).setdefault(channel, str(path))
        if other != str(path):
            raise ValueError(f"{path}: two files for case {case}, the other is {other}, expected one")
    if not cases:
        raise ValueError(f"{folder}: no .nii.gz or .nii file in this folder, expected images")
    for case, files in cases.items():
        first = files[min(files)]
        if len(files) != channels:
            raise ValueError(f"{first}: case {case} has {len(files)} channel(s), expected {channels}")
        if max(files) >= channels:
            raise ValueError(f"{first}: case {case} has channels {sorted(files)}, expected 0 to {channels - 1}")
    return [{"case": case, "image": [files[index] for index in sorted(files)]} for case, files in cases.items()]


class ImageToSlices(Transform):
    """Adds "slices", "axis" and "shape" to a case: normalised channels, cut along the slice axis, resampled.

    `spacing`: of the network's pixels, mm, row and column. `slice_axis`: "0", "1", "2", or "auto" for the axis of
    length 1, else of largest spacing. `intensity`: a rule a channel, "zscore" (by its own mean and deviation) or "ct"
    (clipped to `clip`, shifted and scaled by `statistics`).
    """

    def __init__(
        self,
        spacing: Sequence[float],
        slice_axis: str,
        intensity: Sequence[str],
        clip: Sequence[Sequence[float]],
        statistics: Sequence[Sequence[float]],
    ) -> None:
        self.spacing, self.slice_axis, self.intensity = spacing, slice_axis, intensity
        self.clip, self.statistics = clip, statistics

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Prepare one case. Raises `ValueError` for intensities that are no numbers."""
        image = np.asarray(data["image"], dtype=np.float32)
        if not np.isfinite(image).all():
            raise ValueError(f"{data['files'][0]}: voxels are NaN or infinite, expected finite intensities")
        image = image.reshape(*image.shape, *(1,) * (4 - image.ndim))  # a single slice may be a 2-D file
        # pixdim as the file has it: MONAI reads the spacing from the affine, which is wrong in some public data.
        header = nibabel.load(data["files"][0]).header
        zooms, unit = header.get_zooms()[:3], MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
        spacing = [float(zoom) * unit for zoom in zooms] + [unit] * (3 - len(zooms))
        shape = image.shape[1:]
        axis = max(range(3), key=lambda i: (shape[i] == 1, float(f"{spacing[i]:.5g}"), i))
        axis = axis if self.slice_axis == "auto" else int(self.slice_axis)
        channels = [np.moveaxis(self._normalised(channel, index), axis, 0) for index, channel in enumerate(image)]
        slices = torch.from_numpy(np.ascontiguousarray(np.stack(channels, axis=1)))
        sides = [side for index, side in enumerate(spacing) if index != axis]
        native = tuple(slices.shape[2:])
        size = tuple(max(1, round(n * s / wanted)) for n, s, wanted in zip(native, sides, self.spacing, strict=True))
        if size != native:
            slices = functional.interpolate(slices, size, mode="bilinear", align_corners=False, antialias=True)
        return {**data, "slices": slices, "axis": axis, "shape": native}

    def _normalised(self, channel: np.ndarray, index: int) -> np.ndarray:
        if self.intensity[index] == "ct":
            low, high = self.clip[index]
            channel = np.clip(channel, low, high)
            mean, deviation = self.statistics[index]
        else:
            mean, deviation = float(channel.mean(dtype=np.float64)), float(channel.std(dtype=np.float64))
        return ((channel - mean) / max(deviation, 1e-6)).astype(np.float32)


class AveragingInferer(Inferer):
    """Class probabilities (S, K, h, w), float32 on the CPU, of slices (S, C, h, w), a batch at a time.

    They are the mean over mirrored copies, with `mirror`, and over copies turned by `turn` degrees either way, if that
    is not 0, by `over_copies` of `copies.py`. The network lies on `device` and computes in `dtype`.
    """

    def __init__(
        self, over_copies: Callable[..., Tensor], mirror: bool, turn: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.over_copies, self.mirror, self.turn = over_copies, mirror, turn
        self.device, self.dtype = device, dtype

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Run the network over all slices."""

        def probabilities(image: Tensor) -> Tensor:
            return network(image.to(self.dtype, memory_format=torch.channels_last), *args, **kwargs)

        parts = []
        for chunk in inputs.split(max(1, PIXELS_AT_ONCE // (inputs.shape[2] * inputs.shape[3]))):
            parts.append(self.over_copies(probabilities, chunk.to(self.device), self.mirror, self.turn).cpu())
        return torch.cat(parts)


class ProbabilitiesToLabels(Transform):
    """Adds "labels" to a case: the likeliest class on the image's own grid, less the smaller pieces.

    `largest_component`: groups of classes of which, taken together, the largest pieces alone are kept, in this order.
    """

    def __init__(self, largest_component: Sequence[Sequence[int]]) -> None:
        self.groups = largest_component

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Label one case."""
        probabilities = data["probabilities"]
        if tuple(probabilities.shape[2:]) != tuple(data["shape"]):
            probabilities = functional.interpolate(probabilities, data["shape"], mode="bilinear", align_corners=False)
        labels = probabilities.max(dim=1).indices
        for group in self.groups:
            mask = torch.isin(labels, torch.tensor(group))
            labels[mask & ~largest_pieces(mask)] = 0
        return {**data, "labels": np.moveaxis(labels.numpy().astype(np.uint8), 0, data["axis"])}


def largest_pieces(mask: Tensor) -> Tensor:
    """The largest set of voxels of a mask (S, H, W) that hang together by a face, an edge or a corner, and every other
    one of at least half its size.

    Every voxel takes the highest number among its neighbours, and then that voxel's number in its turn, until nothing
    changes; each piece is left with one number.
    """
    inside = mask.flatten()
    # As float64, the only type of pooling that counts beyond 2^24 voxels.
    numbers = torch.where(inside, torch.arange(mask.numel(), 0, -1), 0).double().view(1, *mask.shape)
    while True:
        pooled = functional.max_pool3d(numbers, 3, stride=1, padding=1) * mask
        chosen = pooled.flatten().long()
        chosen[inside] = chosen[mask.numel() - chosen[inside]]
        spread = chosen.double().view_as(numbers)
        if torch.equal(spread, numbers):
            break
        numbers = spread
    pieces, counts = numbers.flatten()[inside].unique(return_counts=True)
    if len(pieces) == 0:
        return mask
    return torch.isin(numbers, pieces[2 * counts >= counts.max()])[0]


class SaveLabels(Transform):
    """Writes "labels" as OUTPUT_DIR/CASE.nii.gz with the header of the image: both forms, their codes and pixdim."""

    def __init__(self, output_dir: str | Path) -> None:
        self.folder = Path(output_dir)

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write one case, under another name first, so that no half file is left."""
        source: Any = nibabel.load(data["files"][0])
        header = source.header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        header["cal_max"] = header["cal_min"] = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{data['case']}.nii.gz"
        temporary = path.with_name(f".writing-{path.name}")
        nibabel.save(nibabel.Nifti1Image(data["labels"], None, header), temporary)
        temporary.replace(path)
        return data


def segment(
    cases: Iterable[Mapping[str, Any]],
    preprocessing: Callable[[dict[str, Any]], dict[str, Any]],
    inferer: Callable[..., Tensor],
    network: Callable[..., Tensor],
    postprocessing: Callable[[dict[str, Any]], Any],
) -> None:
    """Segment the cases one after the other, and say which is done."""
    for case in cases:
        data = preprocessing({**case, "files": case["image"]})
        postprocessing({**data, "probabilities": inferer(data["slices"], network)})
        print(case["case"], flush=True)
