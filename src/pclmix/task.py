"""What a run has to do: read and checked against the data set and the run folder, before anything is changed there."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pclmix import distributed
from pclmix.compare.base import Method
from pclmix.compare.registry import get_method
from pclmix.config import Plan, Settings, Tree, load_tree, make_settings, paper_deviations, save_tree
from pclmix.data.batches import BatchSource
from pclmix.data.check import fact_warnings, require_trainable
from pclmix.data.fingerprint import Fingerprint, fingerprint
from pclmix.data.folder import (
    Case,
    Dataset,
    case_ids,
    listed_val_cases,
    patients_from_file,
    read_dataset,
    read_dense,
    split,
    unlabelled_cases,
)
from pclmix.data.kinds import KINDS
from pclmix.data.plan import make_plan
from pclmix.digits import readable
from pclmix.errors import InputError
from pclmix.files import atomic_path, claim_folder
from pclmix.method.pclmix import PCLMix
from pclmix.method.self_labelling import SelfLabelling
from pclmix.method.sparing import SparingPCLMix
from pclmix.model_file import MODEL_NAME

CHECKPOINT_NAME = "checkpoint.safetensors"
OWN_FILES = (
    "run.toml",
    CHECKPOINT_NAME,
    MODEL_NAME,
    "model_last.safetensors",
    "validation.json",
    "log.csv",
    "validation.csv",
    "curves.png",
    "pictures/step_*.png",
    "tensorboard/events.out.tfevents.*",
)
"""What a run writes (patterns), so that --overwrite leaves nothing of the run before and all that is not ours."""


class RunRecord(Tree):
    """What a run was asked to do; saved as `run.toml`, read by a resume."""

    dataset: str
    method: str
    seed: int
    steps: int
    val_cases: tuple[str, ...]
    train_cases: tuple[str, ...]
    unlabelled_cases: tuple[str, ...] = ()
    """Those of which the images alone are trained on."""
    data_key: str
    """Hash of the preprocessed training data, so that a resume on other data is refused."""
    version: str


@dataclass(frozen=True)
class Task:
    """What a run has to do: all that is read or chosen before its data are preprocessed. `record` is None, and `prints`
    is not, where the run begins; `steps` None leaves them to `minutes` or the settings."""

    chosen: type[Method]
    dataset: Dataset
    run: Path
    settings: Settings
    seed: int
    steps: int | None
    trained: list[Case]
    unlabelled: list[Case]
    validated: list[Case]
    plan: Plan
    prints: Fingerprint | None
    record: RunRecord | None


def prepare(
    dataset_folder: Path,
    run: Path,
    settings: Settings | None,
    method: str | None,
    steps: int | None,
    val_cases: Path | Collection[str] | None,
    train_cases: Collection[str] | None,
    seed: int | None,
    resume: bool,
    overwrite: bool,
    console: Console,
) -> Task:
    """Read the data set and the run folder, check what was asked for against both, and plan."""
    chosen = get_method(method or PCLMix.name)
    record = _recorded(run) if resume else None
    dataset = read_dataset(Path(dataset_folder))
    for line in require_trainable(dataset):
        console.print(f"warning: {line}", highlight=False)
    if record is None:
        claim_folder(run, overwrite=overwrite)
        if resume:  # who may be killed says so from the first
            console.print(f"{run}: no run to resume, so one begins", highlight=False)
    else:
        _require_same_data(run, record, dataset)
    val_ids = _val_ids(val_cases, dataset)
    train_ids = None if train_cases is None else case_ids(train_cases, dataset, "cases to train on")
    if record is None:
        settings, seed = chosen.configured(settings or make_settings("cpu")), seed or 0
    else:
        recorded = load_tree(Settings, run / "settings.toml")
        _require_same(run, "method", method, record.method)
        _require_same(run, "seed", seed, record.seed)
        _require_same(run, "steps", steps, record.steps)
        chosen = get_method(record.method)
        _require_same(run, "settings", chosen.configured(settings) if settings else None, recorded)
        kept = set(record.val_cases)
        _require_same(run, "validation cases", val_ids if val_cases is not None else None, kept)
        seed, settings, val_ids = record.seed, recorded, kept
        if train_ids is not None:
            given = {case.id for case in split(dataset, kept, train_ids)[0]}
            _require_same(run, "training cases", given, set(record.train_cases))
        train_ids = {*record.train_cases, *record.unlabelled_cases}
    trained, validated = split(dataset, val_ids, train_ids)
    if not trained:
        where, beside = (val_cases, " beside those it names") if isinstance(val_cases, Path) else (dataset.root, "")
        raise InputError(f"{where}: no case with a scribble is left to train on{beside}, expected at least one")
    for case in validated:  # rather now than at the first validation
        if case.dense is not None:
            read_dense(dataset, case)
    prints = None
    if record is None:
        unlabelled = unlabelled_cases(dataset, val_ids, train_ids)
        prints = fingerprint(dataset, trained, settings.planner, unlabelled)
        plan = make_plan(prints, dataset, settings)
        chosen = chosen.in_force(settings)
        if not (settings.train.unlabelled and chosen.unlabelled_since(settings) is not None):
            unlabelled = []
        for line in fact_warnings(dataset, prints.cases):
            console.print(f"warning: {line}", highlight=False)
    else:
        plan = load_tree(Plan, run / "plan.toml")
        chosen = chosen.in_force(settings)
        unlabelled = [case for case in dataset.cases if case.id in record.unlabelled_cases]
    if plan.batch % distributed.world():
        raise InputError(
            f"planner.batch {plan.batch}: cannot be shared out evenly among {distributed.world()} processes, "
            f"expected a multiple of {distributed.world()}"
        )
    return Task(chosen, dataset, run, settings, seed, steps, trained, unlabelled, validated, plan, prints, record)


def _recorded(run: Path) -> RunRecord | None:
    """What the run to resume was asked to do; None where nothing has begun. Raises `InputError` where a run's record is
    missing."""
    if (run / "run.toml").exists():
        return load_tree(RunRecord, run / "run.toml")
    if left := own_files(run):
        raise InputError(f"{run}: {left[0].name} but no run.toml in it, expected a run to resume (or --overwrite)")
    return None


def _require_same_data(run: Path, record: RunRecord, dataset: Dataset) -> None:
    """Raise `InputError` where a run cannot have been made from a data set, as far as its dataset.json and names say;
    `other_data` is for what the files say."""
    plan = load_tree(Plan, run / "plan.toml")
    for name in ("channels", "classes"):
        found, before = len(getattr(dataset, name)), len(getattr(plan, name))
        if found != before:
            raise other_data(run, record, dataset, f"{found} {name} instead of {before}")
    known = {case.id for case in dataset.cases}
    for case in (*record.train_cases, *record.unlabelled_cases, *record.val_cases):
        if case not in known:
            raise other_data(run, record, dataset, f"no case {case}")


def other_data(run: Path, record: RunRecord, dataset: Dataset, difference: str) -> InputError:
    """The error of a resume on another data set than the run was made from, or on one that has changed since."""
    same = Path(record.dataset).resolve() == dataset.root.resolve()
    found = "which now has" if same else f"found {dataset.root}, which has"
    return InputError(f"{run}: was trained on {record.dataset}, {found} {difference}; expected the same data set")


def announce(task: Task, record: RunRecord, console: Console) -> None:
    """Say what will be done."""
    plan, settings = task.plan, task.settings
    shared = f", shared by {distributed.world()} processes" if distributed.world() > 1 else ""
    besides = f"and {len(task.unlabelled)} unlabelled ones, " if task.unlabelled else ""
    console.print(
        f"{task.chosen.name}, preset {settings.preset}: {len(task.trained)} cases to train on, {besides}"
        f"{len(task.validated)} to validate on; crops of {plan.crop[0]} x {plan.crop[1]} pixels of "
        f"{readable(plan.spacing[0], 2)} x {readable(plan.spacing[1], 2)} mm, batch {plan.batch}{shared}, "
        f"T = {record.steps} steps (repeat with --steps {record.steps}), seed {task.seed}",
        highlight=False,
    )
    if settings.preset == "paper" and task.chosen is PCLMix:
        for line in paper_deviations(settings):
            console.print(f"other than published: {line}", highlight=False)
    if task.chosen.heeds_absence and (plan.complete_strokes or plan.rings):
        console.print(_ruled_out(plan), highlight=False)
    if task.chosen is SparingPCLMix:
        left_out = "the second decoder, mix, contrast and consistency, which cost more than they bring, are left out"
        console.print(f"{left_out} (else --set method.sparing=false)", highlight=False)
    if issubclass(task.chosen, SelfLabelling):
        share = task.chosen.own(settings).own_labels
        if share < 1:
            console.print(
                f"after {share:.0%} of the steps it learns from its own labels of these cases, drawn to the "
                "edges of their images (else --set method.own_labels=1)",
                highlight=False,
            )
    if task.prints and task.prints.unlabelled and not task.unlabelled:
        count = len(task.prints.unlabelled)
        console.print(f"{count} unlabelled cases are left out: {task.chosen.name} as it is set makes no use of them")


def announce_kinds(source: BatchSource, console: Console) -> None:
    """Say how the slices are annotated, where they are of several kinds, and how many of the samples are unlabelled."""
    counts = {kind: count for kind in KINDS if (count := source.kinds.count(kind))}
    if len(counts) < 2:
        return
    slices = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    share = ""
    if source.row.share:
        first = source.row.since // source.plan.batch
        since = f" from step {first} on" if first else ""
        share = f"; of the samples {source.row.share:.1%} are unlabelled{since} (--set train.unlabelled sets the most)"
    console.print(f"slices: {slices}{share}", highlight=False)


def _ruled_out(plan: Plan) -> str:
    """What the planner read from the strokes, and how to gainsay it."""
    parts = []
    if plan.complete_strokes:
        parts.append("a class without a stroke in a slice is absent there (else --set planner.strokes=partial)")
    if plan.rings:
        parts.append("beyond the ring of its background strokes a slice is background (else --set planner.rings=off)")
    return "taken from how the strokes are drawn: " + "; ".join(parts)


def _val_ids(val_cases: Path | Collection[str] | None, dataset: Dataset) -> set[str]:
    """Case ids to validate on."""
    if val_cases is None:
        return listed_val_cases(dataset)
    if isinstance(val_cases, Path):
        return patients_from_file(val_cases, dataset)
    return case_ids(val_cases, dataset, "cases to validate on")


def _require_same(run: Path, name: str, given: object, recorded: object) -> None:
    if given is not None and given != recorded:
        raise InputError(f"{run}: --resume with other {name} than it was begun with, expected the same or none")


def own_files(run: Path) -> list[Path]:
    """Files of a run in its folder."""
    return sorted(path for pattern in OWN_FILES for path in run.glob(pattern))


def begin(run: Path, prints: Fingerprint, plan: Plan, settings: Settings, record: RunRecord) -> None:
    """Clear the run before from the folder and write the readable artefacts of this one.

    Called when all input has been read and found good, so that bad input leaves what was there. `run.toml` goes first
    and comes last: where it exists, a run can be resumed.
    """
    (run / "run.toml").unlink(missing_ok=True)
    for path in own_files(run):
        path.unlink()
    with atomic_path(run / "fingerprint.json") as temporary:
        temporary.write_text(prints.to_json(), encoding="utf-8")
    save_tree(plan, run / "plan.toml")
    save_tree(settings, run / "settings.toml")
    save_tree(record, run / "run.toml")
