"""Image file -> label file, with the main decoder only.

Whole slices go through the network in batches; probabilities are averaged over mirrored or turned copies, as the plan
has it, and come back to the native grid; then argmax and the plan's post-processing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from pclmix.config import Plan
from pclmix.data.formats.registry import DICOM, OUTPUTS, format_of
from pclmix.data.orientation import (
    EVERY,
    STORED,
    Orientation,
    by_header,
    directions,
    laid,
    letters,
    turned,
    turned_back,
    upright,
)
from pclmix.data.resample import plan_axis, preprocess_image, restore
from pclmix.data.volume import (
    Volume,
    from_slices,
    in_plane,
    to_slices,
    write_label,
    write_map,
)
from pclmix.doubt import confidence, expected_dice
from pclmix.errors import InputError, SeveralVolumesError
from pclmix.files import claim_folder
from pclmix.inputs import InputCase, find_cases, read_case, require_flat, spacing_remarks
from pclmix.model_file import load_model
from pclmix.network.copies import over_copies
from pclmix.network.fast import for_inference
from pclmix.overview.facts import CaseFacts, case_facts
from pclmix.overview.page import picture_path, write_overview
from pclmix.overview.thumbnails import save_thumbnails
from pclmix.postprocess import component_groups, keep_largest_components
from pclmix.threads import case_threads

PIXELS_AT_ONCE = 2**20
"""Most pixels of a batch of slices, so that the network's memory does not grow with the volume."""

UNSURE = 0.9
"""Mean confidence of the foreground classes under which an image whose header does not tell may well lie otherwise than
those trained on. By a model of ACDC its own images have .965 on average, MSCMR's as stored .81 and turned .93."""

SURER = 0.02
"""By how much another way to lay an image has to be surer, on that scale, to be taken. ACDC's images reach .009."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """None follows the plan; `largest_component` True keeps the largest components of all structures together,
    then of each, False every one. `format` is one of `OUTPUTS`, None that of the input."""

    mirror: bool | None = None
    turn: float | None = None
    largest_component: bool | None = None
    orient: bool = False
    """Whether an image is turned to lie as those trained on: as the headers say, or where they do not tell, as the
    network is surest of."""
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
    with the classes last, float32; the last two only where they were asked for. `confidence` of each foreground class
    (`doubt.confidence`), and `expected`: the Dice to expect of it, calibrated where the plan has lines for that."""

    labels: NDArray[np.uint8]
    confidence: list[float]
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
    sure = confidence(native, torch.from_numpy(labels))
    return Prediction(
        labels=from_slices(labels, axis),
        confidence=sure,
        expected=expected_dice(plan.doubt, sure),
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
    PNG, a DICOM series a DICOM SEG. Of a folder labels and 4-D files are left out. A few cases are under way at
    once, each on its share of the cores. When all are written, a page and CSV files beside them tell of them
    (`overview`). `warn` is told of what is left out, of images whose pixels are far from those trained on, and, once
    each, of images without a spacing, of such as lie otherwise than those trained on, and of such as may.

    Raises `InputError` before anything is written for inputs that are missing or do not fit the model, the format or
    the output folder. A case that turns out to be unreadable costs its own labels alone: the others have theirs and the
    page first, then `warn` is told of each such case but the last, for which `InputError` is raised.
    """
    loaded, plan = load_model(model)
    plan = options.applied(plan)
    cases = find_cases(inputs, len(plan.channels), str(model), warn)
    outputs = {case.name: _output(case.files[0], options.format) for case in cases}
    _spare_inputs(cases, outputs, out)
    is_new = not out.exists()
    claim_folder(out, overwrite=overwrite)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = for_inference(loaded, device)

    def segment(case: InputCase) -> tuple[Path, CaseFacts | None, dict[str, str]]:
        images = read_case(case)
        prediction, remarks = _as_trained(net, plan, images, device, options)
        remarks |= spacing_remarks(images, plan)
        path = _write_case(out, case.name, outputs[case.name], prediction, images[0], plan)
        facts = _seen(out, case.name, prediction, images[0], plan) if options.page else None
        return path, facts, remarks

    show = console is not None and console.is_terminal
    with case_threads(len(cases)) as pool, Progress(console=console, disable=not show, transient=True) as bar:
        jobs = [pool.submit(segment, case) for case in cases]
        facts, failures, told = [], {}, set()
        for case, job in zip(cases, bar.track(jobs, description="predicting"), strict=True):
            try:
                path, of_case, remarks = job.result()
            except InputError as error:
                failures[case] = error
                continue
            facts += [of_case] if of_case else []
            for kind, text in remarks.items():
                if warn and kind not in told:
                    warn(text)
                    told.add(kind)
            yield path
    if facts:
        write_overview(out, facts, plan)
    if is_new and not any(out.iterdir()):
        out.rmdir()
    _tell(failures, len(cases), warn)


def _tell(failures: Mapping[InputCase, InputError], total: int, warn: Callable[[str], None] | None) -> None:
    """A line for each case without labels; the last is raised. Several volumes in one file are a failure only where the
    file was named, or where there was nothing else: in a folder they lie beside the case's own images."""
    left_out = [case for case, error in failures.items() if case.listed and isinstance(error, SeveralVolumesError)]
    if len(left_out) == total:
        left_out = []
    lines = [f"{failures[case]}; left out" for case in left_out]
    failed = [str(error) for case, error in failures.items() if case not in left_out]
    for line in (*lines, *failed[:-1]):
        if warn:
            warn(line)
    if failed:
        raise InputError(failed[-1] + (f" ({len(failed)} of {total} cases failed)" if len(failed) > 1 else ""))


def _as_trained(
    net: nn.Module, plan: Plan, images: Sequence[Volume], device: torch.device, options: PredictOptions
) -> tuple[Prediction, dict[str, str]]:
    """Segment a case as its files store it, or with `options.orient` turned to lie as those trained on, and what to
    tell of that, by kind."""
    axis, path = plan_axis(images[0], plan), images[0].path
    own = directions(images[0].geometry, axis)
    wanted = by_header(own, plan.directions)
    fixed = plan.model_copy(update={"slice_axis": str(axis)})  # swapped spacings must not choose another

    def predict(orientation: Orientation, plan: Plan = fixed, maps: bool = True) -> Prediction:
        found = predict_volume(
            net,
            plan,
            [turned(volume, axis, orientation) for volume in images],
            device,
            probabilities=maps and options.save_probabilities,
            uncertainty=maps and options.save_uncertainty,
        )
        return replace(
            found,
            labels=turned_back(found.labels, axis, orientation),
            probabilities=None if (p := found.probabilities) is None else turned_back(p, axis, orientation),
            uncertainty=None if (u := found.uncertainty) is None else turned_back(u, axis, orientation),
        )

    if options.orient:
        if wanted is None:
            quick = fixed.model_copy(update={"mirror": False, "turn": 0.0})
            sure = {way: _sureness(predict(way, quick, maps=False)) for way in EVERY}
            best = max(EVERY, key=lambda way: sure[way])
            wanted = best if sure[best] >= sure[STORED] + SURER else STORED
        return predict(wanted), {}
    found = predict(STORED)
    if wanted not in (None, STORED):
        lie, expected = letters(own), letters(plan.directions)
        return found, {
            "orientation": f"{path}: rows and columns of its slices run to {lie}, expected {expected} as in training; "
            "taken as stored, --orient turns such images for the network"
        }
    if wanted is None and plan.directions and _sureness(found) < UNSURE:
        return found, {
            "unsure": f"{path}: the network is unsure of it, and its header does not tell whether its slices lie as "
            "those trained on; --orient tries other ways to lay such images, see pictures"
        }
    return found, {}


def _sureness(prediction: Prediction) -> float:
    """Mean confidence of the foreground classes; of one that was found nowhere it is 0 here, right though that may be:
    else the way in which the network finds nothing would be the surest."""
    found = np.isin(np.arange(1, len(prediction.confidence) + 1), prediction.labels)
    return float(np.mean(found * np.array(prediction.confidence)))


def _output(path: Path, chosen: str | None) -> str:
    """Format of the labels of an image. Raises `InputError` for an unknown one, or for DICOM SEG of another image."""
    own = format_of(path)
    if chosen is not None and chosen not in OUTPUTS:
        raise InputError(f"--format {chosen}: found no such format, expected one of {', '.join(OUTPUTS)}")
    if chosen == DICOM.output and own is not DICOM:
        raise InputError(f"{path}: --format dcm of an image that is no DICOM series, expected another format")
    if chosen == "png":
        require_flat(path)
    return chosen or own.output


def _of_maps(output: str) -> str:
    """Format of the maps beside labels of a format: the same where it holds fractions, else NIfTI."""
    return output if OUTPUTS[output].holds_maps else "nii.gz"


def _spare_inputs(cases: Sequence[InputCase], outputs: dict[str, str], out: Path) -> None:
    """Refuse an output folder in which a label file or map would take the place of an image."""
    inputs = {path.resolve(): path for case in cases for path in case.files}
    for name, output in outputs.items():
        maps = _of_maps(output)
        for file in (f"{name}.{output}", f"{name}_probabilities.{maps}", f"{name}_uncertainty.{maps}"):
            if found := inputs.get((out / file).resolve()):
                raise InputError(f"{found}: an input that its own output would replace, expected another output folder")


def _write_case(out: Path, name: str, output: str, prediction: Prediction, like: Volume, plan: Plan) -> Path:
    path, maps = out / f"{name}.{output}", _of_maps(output)
    if prediction.probabilities is not None:
        write_map(out / f"{name}_probabilities.{maps}", prediction.probabilities, like)
    if prediction.uncertainty is not None:
        write_map(out / f"{name}_uncertainty.{maps}", prediction.uncertainty, like)
    write_label(path, prediction.labels, like, plan.classes)
    return path


def _seen(out: Path, name: str, prediction: Prediction, like: Volume, plan: Plan) -> CaseFacts:
    """Draw the thumbnails of a case, upright, and give its facts."""
    axis = plan_axis(like, plan)
    way = upright(like.geometry, axis)
    image, labels = turned(like, axis, way), laid(to_slices(prediction.labels, axis), way)
    spacing = in_plane(image.geometry.spacing, axis)
    save_thumbnails(picture_path(out, name), to_slices(image.array, axis), labels, spacing)
    return case_facts(name, prediction.labels, like.geometry.spacing, prediction.expected, plan)
