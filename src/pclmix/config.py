"""Every setting, validated once: a preset's and a user's overrides, and the plan that travels with a model.

Two trees. `Settings` says how to train; it comes from a preset and `--set key=value` overrides. `Plan` says what the
network expects of an image; the planner derives it from the data set and it is saved beside the weights.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.presets import PAPER_DEVIATIONS, PRESETS

PLAN_VERSION = 1

T = TypeVar("T", bound="Tree")


class Tree(BaseModel):
    """A strict, immutable settings table."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkSettings(Tree):
    """Shape of the dual-decoder network (method.md, "Network")."""

    encoder: Literal["plain", "resnet18", "resnet50"] = "plain"
    weights: str = ""
    """ImageNet weights for a ResNet: a file (torchvision state dict), "download", or "" for random initialisation."""
    width: int = Field(16, ge=8)
    """Channels of the plain encoder's finest level; they double a level, to at most 16 times as many."""
    norm: Literal["batch", "group"] = "batch"
    swin_width: int = Field(96, ge=8)
    """Channels of the Swin decoder at stride 4; they double a level. The heads are width / 32 a level, at least 1."""
    window: int = Field(7, ge=2)
    embedding: int = Field(256, ge=2)


class PCLMixSettings(Tree):
    """PCLMix's published setting; symbols in brackets. Ablation switches off mix, contrast or consistency."""

    auxiliary: float = Field(0.4, ge=0)
    """Weight of the transformer decoder [λ_t]."""
    contrastive: float = Field(0.1, ge=0)
    """Weight of the pixel contrast [λ_ctr]."""
    consistent: float = Field(1.0, ge=0)
    """Weight of both consistencies [λ_con]."""
    absence: float = Field(1.0, ge=0)
    """Weight of the loss on classes where the strokes rule them out; ours, not the paper's."""
    temperature: float = Field(0.07, gt=0)
    queue: int = Field(500, ge=1)
    """Keys a class in the memory [M]."""
    anchors: int = Field(1024, ge=1)
    anchors_per_class: int = Field(100, ge=1)
    """Most anchors of one class of one image."""
    box_area: float = Field(0.2, gt=0, lt=1)
    contrast_warmup: float = Field(1 / 60, ge=0, le=1)
    """Fraction of the training after which the contrast loss begins."""
    mix: bool = True
    contrast: bool = True
    consistency: bool = True
    sparing: bool = False
    """Learn from the strokes, from what they rule out and from own labels alone; ours. Second decoder, mix, contrast
    and consistency are left out: they cost more time than they are worth (docs/experiments.md)."""
    own_labels: float = Field(1.0, gt=0, le=1)
    """Fraction of the training after which it learns from its own labels, drawn to the edges of the images
    (`pclmix.method.own_labels`); 1: never. Ours, not the paper's."""

    @model_validator(mode="after")
    def _nothing_set_in_vain(self) -> Self:
        """What is left out cannot be set: an ablation of it would compare a run with itself."""
        changed = {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}
        if self.sparing and (idle := sorted(changed - {"sparing", "absence", "own_labels"})):
            raise ValueError(f"{', '.join(idle)}: no effect with sparing = true, expected method.sparing=false beside")
        return self


class OptimizerSettings(Tree):
    """Polynomial decay (1 - t/T)^power; `warmup` is the fraction of T over which the rate rises linearly."""

    name: Literal["sgd", "adamw"] = "adamw"
    rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    power: float = Field(0.9, ge=0)
    warmup: float = Field(0.0, ge=0, lt=1)
    clip_norm: float = Field(0.0, ge=0)
    """Largest gradient norm; 0 leaves gradients alone."""


class AugmentSettings(Tree):
    """Ranges that every paired augmentation draws from. `right_angles` is the published recipe: rot90 + flip, else a
    rotation by up to `rotation` degrees."""

    right_angles: bool = False
    flip: bool = True
    rotation: float = Field(30.0, ge=0, le=180)
    """Degrees, either way."""
    scale: float = Field(0.25, ge=0, lt=1)
    """Zoom between 1 - scale and 1 + scale."""
    stretch: float = Field(0.0, ge=0, lt=1)
    """Zoom by up to 1 + stretch along a random direction and by the inverse across it, or the other way round."""
    elastic: float = Field(0.0, ge=0, lt=0.2)
    """Standard deviation of the control points' displacement, as a fraction of the crop's sides."""
    swell: float = Field(0.0, ge=0, le=1)
    """Local magnification round a foreground stroke, between 1 / (1 + swell) and 1 + swell."""
    gamma: float = Field(0.3, ge=0, lt=1)
    contrast: float = Field(0.25, ge=0, lt=1)
    brightness: float = Field(0.2, ge=0)
    """In standard deviations of the image."""
    noise: float = Field(0.1, ge=0)
    """Largest standard deviation of added Gaussian noise, in standard deviations of the image."""
    blur: float = Field(0.8, ge=0)
    """Largest sigma of a Gaussian blur, pixels."""


def _both(value: Any) -> Any:
    """One number for rows and columns as a pair."""
    return (value, value) if isinstance(value, int | float) else value


def _group(value: Any) -> Any:
    """One class as a group of it."""
    return (value,) if isinstance(value, int) else value


ClassGroup = Annotated[tuple[int, ...], BeforeValidator(_group)]
Axis = Literal["auto", "0", "1", "2"]
Rule = Literal["zscore", "ct"]


class PlannerSettings(Tree):
    """Compute budget within which the planner chooses; every value it derives can be fixed here (0 = derive)."""

    pixels: int = Field(160 * 160, ge=32 * 32)
    """Most pixels of a training crop."""
    batch: int = Field(12, ge=2)
    view: float = Field(1.0, gt=0, le=1)
    """Share of the field of view that a crop shows at least, along each side; less makes a step quicker."""
    spacing: Annotated[tuple[NonNegativeFloat, NonNegativeFloat], BeforeValidator(_both)] = (0.0, 0.0)
    """In-plane spacing in mm, (row, column) or one number for both; 0 derives it from the data set."""
    crop: Annotated[tuple[NonNegativeInt, NonNegativeInt], BeforeValidator(_both)] = (0, 0)
    """Sides of a crop in pixels, (rows, columns) or one number for both; 0 derives them."""
    depth: int = Field(0, ge=0, le=7)
    """Levels of the plain encoder; 0 derives it."""
    slice_axis: Annotated[Axis, BeforeValidator(str)] = "auto"
    """Array axis of the slices; auto is the axis of length 1, else of largest spacing."""
    intensity: tuple[Rule, ...] = ()
    """How each channel is normalised; empty goes by the channels' names (CT or not)."""
    strokes: Literal["auto", "complete", "partial"] = "auto"
    """Whether every class that an annotated slice shows has a stroke there; auto looks for gaps in the strokes. Never
    said of a slice with points alone."""
    rings: Literal["auto", "on", "off"] = "auto"
    """Whether background strokes are drawn round the structures; auto looks whether nearly all are."""
    turn: Literal["auto"] | Annotated[float, Field(ge=0, le=180)] = "auto"
    """Degrees by which copies of a slice are turned either way where a prediction is averaged over such, 0: none; auto
    goes by the rotation of training, where crops are not flipped."""


class TrainSettings(Tree):
    """The loop's settings."""

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto: bf16 where the device multiplies it faster than fp32 (a CPU is timed), else fp32; fp16 on an older GPU."""
    ema: float = Field(0.02, ge=0, lt=1)
    """Averaging window of the weights as a fraction of T; 0 keeps the last weights."""
    validations: int = Field(6, ge=1)
    """Validations in a run, the last one at the end."""
    statistics_batches: int = Field(60, ge=1)
    """Unmixed batches over which batch-norm statistics are re-estimated before a model is used."""
    steps: int = Field(60_000, ge=1)
    """T, where neither --steps nor --minutes is given."""
    foreground: float = Field(0.7, ge=0, le=1)
    """Share of the crops that are placed round annotated foreground; the rest lies anywhere in the slice."""
    unlabelled: float = Field(0.25, ge=0, lt=1)
    """Largest share of the samples that are unlabelled slices, for a method that uses such; 0: none."""
    unlabelled_from: Literal["cases", "slices"] = "cases"
    """cases: slices of cases without a label file; slices: also those that are left out in cases that have one."""


class Settings(Tree):
    """How to train. Saved as `settings.toml` in the run folder."""

    preset: str = "cpu"
    network: NetworkSettings = NetworkSettings()
    method: dict[str, bool | int | float | str] = {}
    """The chosen method's own settings; its class checks and completes them (`Method.configured`)."""
    optimizer: OptimizerSettings = OptimizerSettings()
    augment: AugmentSettings = AugmentSettings()
    planner: PlannerSettings = PlannerSettings()
    train: TrainSettings = TrainSettings()


def paper_deviations(settings: Settings) -> list[str]:
    """Each way in which a run of preset paper departs from the published experiment, a line each."""
    lines = list(PAPER_DEVIATIONS)
    if not settings.network.weights:
        lines.append("random initialisation, not ImageNet's weights: --set network.weights=FILE or =download")
    published = make_settings("paper").model_dump() | {"method": PCLMixSettings().model_dump()}
    for section, values in settings.model_dump().items():
        if isinstance(values, dict):
            changed = {name: value for name, value in values.items() if value != published[section][name]}
            changed.pop("weights", None)
            lines += [f"{section}.{name} is {value}, not {published[section][name]}" for name, value in changed.items()]
    return lines


class Plan(Tree):
    """What the network expects of an image and what it gives back. Saved as `plan.toml` and inside the model file.

    `classes` maps name to label value, background 0, consecutive. `spacing` is in plane, mm (row, column).
    `intensity` holds one entry a channel: "zscore" (each volume by its own mean and standard deviation) or
    "ct" (clip to `clip[c]`, then shift and scale by `statistics[c]` = (mean, standard deviation) of the data set).
    """

    version: int = PLAN_VERSION
    channels: tuple[str, ...]
    classes: dict[str, int]
    spacing: tuple[float, float]
    crop: tuple[int, int]
    batch: int = Field(ge=1)
    depth: int = Field(5, ge=2, le=7)
    slice_axis: Axis = "auto"
    """Array axis of the slices; auto is the axis of length 1, else of largest spacing."""
    intensity: tuple[Rule, ...]
    clip: tuple[tuple[float, float], ...] = ()
    statistics: tuple[tuple[float, float], ...] = ()
    network: NetworkSettings = NetworkSettings()
    complete_strokes: bool = False
    """A class without a stroke in an annotated slice is taken to be absent there, unless the slice has points only."""
    rings: bool = False
    """Where background strokes surround the foreground strokes of a slice, all beyond them is taken for background."""
    mirror: bool = True
    """Average the probabilities over mirrored copies of a slice."""
    turn: float = Field(0.0, ge=0, le=180)
    """Average them over copies turned by so many degrees either way, too; 0: none."""
    largest_component: tuple[ClassGroup, ...] = ()
    """Groups of classes of which, taken together, only the largest 3-D components are kept, in this order."""
    directions: tuple[tuple[float, float, float], ...] = ()
    """Along which rows and columns of the training slices are counted, RAS (`data.orientation`); empty where their
    files do not say, or differ."""
    doubt: tuple[tuple[float, float], ...] = ()
    """A `pclmix.doubt.Line` a foreground class: intercept, slope; empty where there was nothing to calibrate on."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sorted(self.classes.values()) != list(range(len(self.classes))) or len(self.classes) < 2:
            raise ValueError(f"classes {self.classes}, expected background 0 and consecutive integers after it")
        if len(self.intensity) != len(self.channels):
            raise ValueError(f"{len(self.intensity)} intensity rules, expected one a channel ({len(self.channels)})")
        ct = [i for i, rule in enumerate(self.intensity) if rule == "ct"]
        if ct and (len(self.clip) != len(self.channels) or len(self.statistics) != len(self.channels)):
            raise ValueError("a ct channel needs clip and statistics, one pair a channel")
        return self

    def without_weights(self) -> "Plan":
        """The same plan of a network that starts without ImageNet weights, because it is filled from elsewhere."""
        return self.model_copy(update={"network": self.network.model_copy(update={"weights": ""})})

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label value, background first."""
        return tuple(sorted(self.classes, key=self.classes.__getitem__))


EXPECTED_SETTING = "expected section.name=value, for example optimizer.rate=0.01"


def make_settings(preset: str, overrides: tuple[str, ...] = ()) -> Settings:
    """The preset's settings with overrides in words, `section.name=value`; raises as `settings_with` does."""
    values = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"setting {text}: {EXPECTED_SETTING}")
        values[key.strip()] = _parse_value(value.strip())
    return settings_with(preset, values)


def settings_with(preset: str, overrides: Mapping[str, Any]) -> Settings:
    """The preset's settings with the values that `section.name` is given. Raises `InputError` for an unknown name or
    value."""
    if preset not in PRESETS:
        raise InputError(f"preset {preset}: unknown preset, expected one of {', '.join(PRESETS)}")
    tree = {section: dict(values) for section, values in PRESETS[preset].items()}
    for key, value in overrides.items():
        section, dot, name = key.partition(".")
        if not dot:
            raise InputError(f"setting {key}: {EXPECTED_SETTING}")
        tree.setdefault(section, {})[name] = value
    return validated(Settings, {"preset": preset, **tree}, "settings")


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def validated(kind: type[T], values: dict[str, Any], where: str) -> T:
    """A settings tree of plain values. Raises one line naming `where`, the entry, and the nearest name if unknown."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        # Of a union every branch complains; an unknown name or our own words say most.
        first = next((e for e in errors if e["type"] in ("extra_forbidden", "value_error")), errors[0])
        name = ".".join(str(part) for part in first["loc"] if "[" not in str(part))  # a branch of a union
        if first["type"] == "extra_forbidden":
            known = _fields(kind, first["loc"][:-1])
            hint = f", {nearest(str(first['loc'][-1]), known)}" if known else ""
            raise InputError(f"{where}: {name}: unknown{hint}") from None
        if first["type"] == "value_error":
            message = first["msg"].removeprefix("Value error, ")
            raise InputError(f"{where}: {name}{': ' if name else ''}{message}") from None
        raise InputError(f"{where}: {name}: {first['msg']} (found {first.get('input')!r})") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """What to answer to an unknown name: the nearest known one, if any is near, and all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"expected one of {', '.join(known)}"


def _fields(kind: Any, place: tuple[int | str, ...]) -> Iterable[str]:
    """Names that a table within a settings tree knows; none where it is a branch of a union."""
    for part in place:
        kind = kind.model_fields[part].annotation if part in getattr(kind, "model_fields", {}) else kind
    return getattr(kind, "model_fields", {})


def tree_to_toml(tree: Tree) -> str:
    """TOML text of a settings tree."""
    return tomli_w.dumps(tree.model_dump(mode="json", exclude_none=True))


def tree_from_toml(kind: type[T], text: str, where: str) -> T:
    """Read a settings tree; `where` names the file in the `InputError` of a malformed one."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML ({error})") from None
    if kind is Plan and values.get("version") != PLAN_VERSION:
        raise InputError(f"{where}: plan version {values.get('version')}, expected {PLAN_VERSION}")
    return validated(kind, values, where)


def save_tree(tree: Tree, path: Path) -> None:
    """Write a settings tree as TOML, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(tree_to_toml(tree), encoding="utf-8")


def load_tree(kind: type[T], path: Path) -> T:
    """Read a settings tree from a TOML file. Raises `InputError` if it is missing or malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read ({error})") from None
    return tree_from_toml(kind, text, str(path))
