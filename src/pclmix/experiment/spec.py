"""The experiment file: what a comparison, ablation or sensitivity study consists of, checked before anything runs."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from pclmix.config import Tree, validated
from pclmix.errors import InputError

VERSION = 1
Value = bool | int | float | str | list[int | float | str]
Overrides = dict[str, Value]
Share = Annotated[float, Field(gt=0, le=1)]


class FoldSpec(Tree):
    """`test` patients (or cases) are scored; `train` ones are learnt from, all others where it is empty."""

    name: str = ""
    train: tuple[str, ...] = ()
    test: tuple[str, ...]


class EffortSpec(Tree):
    """Shares of the annotation that are kept: annotated slices, or pixels of every stroke."""

    slices: tuple[Share, ...] = ()
    pixels: tuple[Share, ...] = ()


class ExperimentSpec(Tree):
    """One TOML file. Overrides are written `"section.name" = value`, as after `--set`."""

    version: Literal[1]
    dataset: str
    """A dataset folder, relative to the file."""
    title: str = ""
    results: str = ""
    """Folder of the results, relative to the file; FILE's name and `_results` where it is empty."""
    preset: str = "cpu"
    steps: PositiveInt | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time a run instead of steps; neither takes the preset's steps."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    methods: tuple[str, ...] = ("pclmix",)
    reference: str = ""
    """Method that all rows are tested against and that ablation, sensitivity and effort vary; pclmix, or the first."""
    upper: str = ""
    """Row by which the cases to show are chosen; `full` where it takes part."""
    folds: Annotated[int, Field(ge=2)] | tuple[FoldSpec, ...]
    """Number of folds (patients in order of their names, as the standard folds of ACDC are), or their lists."""
    settings: Overrides = Field(default_factory=dict)
    """Overrides of every run."""
    method: dict[str, Overrides] = Field(default_factory=dict)
    """Own settings of a method, by its name."""
    ablation: dict[str, Overrides] = Field(default_factory=dict)
    """Row name -> overrides of the reference."""
    sensitivity: dict[str, tuple[int | float, ...]] = Field(default_factory=dict)
    """Setting -> values, one at a time."""
    effort: EffortSpec = EffortSpec()
    external: dict[str, str] = Field(default_factory=dict)
    """Row name -> folder of label files that another tool predicted, relative to the file."""
    cpus: Annotated[float, Field(ge=0)] = 0
    """CPUs a run, on Ray; 0 takes 1 there and all of the machine elsewhere."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs a run, on Ray."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps and self.minutes:
            raise ValueError("steps and minutes, expected one of them")
        if not isinstance(self.folds, int) and not self.folds:
            raise ValueError("no fold, expected at least one")
        if not self.methods:
            raise ValueError("no method, expected at least one")
        repeated = {name for name in self.methods if self.methods.count(name) > 1} | (
            set(self.methods) & set(self.external)
        )
        if repeated:
            raise ValueError(f"row {min(repeated)} comes twice, expected it once")
        for kind in ("reference", "upper"):
            name = getattr(self, kind)
            if name and name not in self.methods:
                raise ValueError(f"{kind} {name}, expected one of the methods ({', '.join(self.methods)})")
        strangers = sorted(set(self.method) - set(self.methods))
        if strangers:
            raise ValueError(
                f"settings of method {strangers[0]}, expected one of the methods ({', '.join(self.methods)})"
            )
        return self

    @property
    def base(self) -> str:
        """The reference method."""
        return self.reference or ("pclmix" if "pclmix" in self.methods else self.methods[0])

    @property
    def best(self) -> str:
        """The upper bound, or nothing."""
        return self.upper or ("full" if "full" in self.methods else "")


def read_spec(path: Path) -> ExperimentSpec:
    """Read an experiment file; its paths become absolute. Raises `InputError` naming what is wrong."""
    path = Path(path)
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read ({error}), expected an experiment file") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML ({error})") from None
    if values.get("version") != VERSION:
        raise InputError(f"{path}: experiment file of version {values.get('version')}, expected version = {VERSION}")
    spec = validated(ExperimentSpec, values, str(path))
    here = path.resolve().parent
    return spec.model_copy(
        update={
            "title": spec.title or path.stem,
            "dataset": str(here / Path(spec.dataset).expanduser()),
            "results": str(here / (Path(spec.results).expanduser() if spec.results else f"{path.stem}_results")),
            "external": {name: str(here / Path(folder).expanduser()) for name, folder in spec.external.items()},
        }
    )
