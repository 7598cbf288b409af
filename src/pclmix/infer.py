"""Image file -> label file, with the main decoder only.

Whole slices go through the network in batches; probabilities are averaged over mirrored or turned copies, as the plan
has it, and come back to the native grid; then argmax and the plan's post-processing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from pclmix.config import Plan
from pclmix.data.formats.listing import image_files
from pclmix.data.formats.registry import DICOM, OUTPUTS, READABLE, format_of, stem
from pclmix.data.resample import plan_axis, preprocess_image, restore
from pclmix.data.volume import (
    Volume,
    by_channel,
    count_channels,
    from_slices,
    in_plane,
    read_channels,
    require_same_grid,
    spacing_warning,
    to_slices,
    write_label,
    write_map,
)
from pclmix.doubt import confidence, expected_dice
from pclmix.errors import InputError
from pclmix.files import claim_folder
from pclmix.model_file import load_model
from pclmix.network.copies import over_copies
from pclmix.network.fast import for_inference
from pclmix.overview.facts import CaseFacts, case_facts
from pclmix.overview.page import picture_path, write_overview
from pclmix.overview.thumbnails import save_thumbnails
from pclmix.postprocess import component_groups, keep_largest_components
from pclmix.threads import case_threads

PIXELS_AT_ONCE = 2**20
"""Most pixels of a batch of slices, so that memory does not grow with the volume."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """None follows the plan; `largest_component` True keeps the largest components of all structures together,
    then of each, False every one. `format` is one of `OUTPUTS`, None that of the input."""

    mirror: bool | None = None
    turn: float | None = None
    largest_component: bool | None = None
    save_probabilities: bool = False
    save_uncertainty: bool = False
    format: str | None = None
    page: bool = True
    """Whether the page, its pictures and the CSV files are left beside the labels (`overview`)."""

    def applied(self, plan: Plan) -> Plan:
        """The plan with these options in it. Raises `InputError` for an angle that is none."""
        changes: dict[str, object] = {}
        if self.mirror is not None:
            changes["mirror"] = self.mirror
        if self.turn is not None:
            if not 0 <= self.turn <= 180:
                raise InputError(f"--turn {self.turn:g}: found no angle of 0 to 180 degrees, expected one")
            changes["turn"] = self.turn
        if self.largest_component is not None:
            changes["largest_component"] = component_groups(plan) if self.largest_component else ()
        return plan.model_copy(update=changes)


@dataclass(frozen=True)
class Prediction:
    """In the native grid of the input: `labels` (uint8), `uncertainty` (entropy / ln K, 0 to 1), and `probabilities`
    with the classes last, float32; the last two only where they were asked for. `expected`: the Dice to expect of each
    foreground class, calibrated where the plan has lines for it."""

    labels: NDArray[np.uint8]
    expected: list[float]
    probabilities: NDArray[np.float32] | None
    uncertainty: NDArray[np.float32] | None


@torch.inference_mode()
def predict_slices(
    net: nn.Module, slices: NDArray[np.floating], device: torch.device, plan: Plan | None = None
) -> Tensor:
    """Class probabilities (S, K, h, w), float32 on the CPU, of preprocessed slices (S, C, h, w).

    With a plan they are the mean over the copies that it asks for (`network.copies`).
    """
    dtype = next((parameter.dtype for parameter in net.parameters()), torch.float32)
    count = max(1, PIXELS_AT_ONCE // (slices.shape[2] * slices.shape[3]))
    mirror, turn = (plan.mirror, plan.turn) if plan else (False, 0.0)

    def probabilities(image: Tensor) -> Tensor:
        found: Tensor = net(image.to(dtype, memory_format=torch.channels_last)).float().softmax(dim=1)
        return found

    parts = []
    for start in range(0, len(slices), count):
        chunk = torch.from_numpy(np.ascontiguousarray(slices[start : start + count], dtype=np.float32)).to(device)
        parts.append(over_copies(probabilities, chunk, mirror, turn).cpu())
    return torch.cat(parts)


def to_native(probabilities: Tensor, shape: tuple[int, int], plan: Plan) -> tuple[NDArray[np.uint8], Tensor]:
    """Labels (S, H, W) on the native in-plane grid, before post-processing, and the probabilities there."""
    native = restore(probabilities, shape)
    return native.max(dim=1).indices.to(torch.uint8).numpy(), native  # argmax takes eight times as long here


def predict_volume(
    net: nn.Module,
    plan: Plan,
    images: Sequence[Volume],
    device: torch.device,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
) -> Prediction:
    """Segment one case, its channels a volume each, in the axis order of its files."""
    axis = plan_axis(images[0], plan)
    sides = [n for index, n in enumerate(images[0].array.shape) if index != axis]
    slices = preprocess_image(images, plan)
    labels, native = to_native(predict_slices(net, slices, device, plan), (sides[0], sides[1]), plan)
    labels = keep_largest_components(labels, plan.largest_component)
    doubt = None
    if uncertainty:
        entropy = -(native * native.clamp_min(1e-12).log()).sum(dim=1) / np.log(native.shape[1])
        doubt = from_slices(entropy.numpy(), axis)
    maps = np.moveaxis(native.numpy(), 1, -1) if probabilities else None
    return Prediction(
        labels=from_slices(labels, axis),
        expected=expected_dice(plan.doubt, confidence(native, torch.from_numpy(labels))),
        probabilities=None if maps is None else np.moveaxis(maps, 0, axis),
        uncertainty=doubt,
    )


def predict_files(
    model: str | Path,
    inputs: Sequence[Path],
    out: Path,
    options: PredictOptions,
    *,
    overwrite: bool = False,
    console: Console | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Segment files and folders into `out`; yields each label file once it is written.

    CASE.nii.gz or CASE_0000.nii.gz (one file a channel) gives CASE.nii.gz, and so do the other formats; a JPEG gives a
    PNG, a DICOM series a DICOM SEG. A few cases are under way at once, each on its share of the cores. When all are
    written, a page and CSV files beside them tell of them (`overview`). `warn` is told, once, of images without a
    spacing. Raises `InputError` before anything is written if an input does not fit the model.
    """
    loaded, plan = load_model(model)
    plan = options.applied(plan)
    cases = _cases(inputs, len(plan.channels), str(model))
    outputs = {name: _output(paths[0], options.format) for name, paths in cases.items()}
    _spare_inputs(cases, outputs, out)
    claim_folder(out, overwrite=overwrite)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = for_inference(loaded, device)

    def segment(name: str) -> tuple[Path, CaseFacts | None, str | None]:
        images = _read_case(cases[name])
        prediction = predict_volume(
            net,
            plan,
            images,
            device,
            probabilities=options.save_probabilities,
            uncertainty=options.save_uncertainty,
        )
        path = _write_case(out, name, outputs[name], prediction, images[0], plan)
        facts = _seen(out, name, prediction, images[0], plan) if options.page else None
        return path, facts, spacing_warning(images)

    show = console is not None and console.is_terminal
    with case_threads(len(cases)) as pool, Progress(console=console, disable=not show, transient=True) as bar:
        jobs = [pool.submit(segment, name) for name in cases]
        facts = []
        for job in bar.track(jobs, description="predicting"):
            path, of_case, warning = job.result()
            facts += [of_case] if of_case else []
            if warning and warn:
                warn(warning)
                warn = None
            yield path
    if options.page:
        write_overview(out, facts, plan)


def _output(path: Path, chosen: str | None) -> str:
    """Format of the labels of an image. Raises `InputError` for an unknown one, or for DICOM SEG of another image."""
    own = format_of(path)
    if chosen is not None and chosen not in OUTPUTS:
        raise InputError(f"--format {chosen}: found no such format, expected one of {', '.join(OUTPUTS)}")
    if chosen == DICOM.output and own is not DICOM:
        raise InputError(f"{path}: --format dcm of an image that is no DICOM series, expected another format")
    return chosen or own.output


def _of_maps(output: str) -> str:
    """Format of the maps beside labels of a format: the same where it holds fractions, else NIfTI."""
    return output if OUTPUTS[output].holds_maps else "nii.gz"


def _spare_inputs(cases: dict[str, list[Path]], outputs: dict[str, str], out: Path) -> None:
    """Refuse an output folder in which a label file or map would take the place of an image."""
    inputs = {path.resolve(): path for paths in cases.values() for path in paths}
    for name, output in outputs.items():
        maps = _of_maps(output)
        for file in (f"{name}.{output}", f"{name}_probabilities.{maps}", f"{name}_uncertainty.{maps}"):
            if found := inputs.get((out / file).resolve()):
                raise InputError(f"{found}: an input that its own output would replace, expected another output folder")


def _read_case(paths: list[Path]) -> list[Volume]:
    images = [volume for path in paths for volume in read_channels(path)]
    for other in images[1:]:
        require_same_grid(images[0], other)
    return images


def _write_case(out: Path, name: str, output: str, prediction: Prediction, like: Volume, plan: Plan) -> Path:
    path, maps = out / f"{name}.{output}", _of_maps(output)
    if prediction.probabilities is not None:
        write_map(out / f"{name}_probabilities.{maps}", prediction.probabilities, like)
    if prediction.uncertainty is not None:
        write_map(out / f"{name}_uncertainty.{maps}", prediction.uncertainty, like)
    write_label(path, prediction.labels, like, plan.classes)
    return path


def _seen(out: Path, name: str, prediction: Prediction, like: Volume, plan: Plan) -> CaseFacts:
    """Draw the thumbnails of a case, and give its facts."""
    spacing = like.geometry.spacing
    axis = plan_axis(like, plan)
    slices, labels = to_slices(like.array, axis), to_slices(prediction.labels, axis)
    save_thumbnails(picture_path(out, name), slices, labels, in_plane(spacing, axis))
    return case_facts(name, prediction.labels, spacing, prediction.expected, plan)


def _cases(inputs: Sequence[Path], channels: int, model: str) -> dict[str, list[Path]]:
    """Channel files by case id; an RGB image is three channels."""
    files: dict[Path, str] = {}
    for path in inputs:
        if path.is_dir():
            found = image_files(path)
            if not found:
                raise InputError(f"{path}: no image in this folder, expected {READABLE}")
            files |= found
        elif path.is_file():
            files[path] = stem(path) or path.name
        else:
            raise InputError(f"{path}: no such file or folder, expected an image")
    cases: dict[str, list[Path]] = {}
    for case, known in by_channel(files).items():
        paths = [known[index] for index in sorted(known)]
        count = count_channels(paths)
        if count != channels or sorted(known) != list(range(len(known))):
            raise InputError(f"{paths[0]}: case {case} has {count} channel(s), expected {channels} as in {model}")
        cases[case] = paths
    return cases
