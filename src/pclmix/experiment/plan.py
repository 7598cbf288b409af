"""From an experiment file to jobs: every run of it, each on its own, and the rows of the tables they fill."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pclmix.compare.registry import get_method
from pclmix.config import load_tree, save_tree, settings_with
from pclmix.data.folder import Dataset, case_ids, read_dataset
from pclmix.errors import InputError
from pclmix.evaluate import by_case
from pclmix.experiment.order import ORDER_NAME, Order
from pclmix.experiment.spec import ExperimentSpec, FoldSpec, Overrides, read_spec


class Row(NamedTuple):
    """A row of a table and the names of its jobs."""

    part: str
    row: str
    parameter: str
    value: float
    jobs: tuple[str, ...]


class Fold(NamedTuple):
    """Case ids on either side; no patient is on both."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


class ExperimentPlan(NamedTuple):
    """Everything an experiment runs."""

    spec: ExperimentSpec
    folds: list[Fold]
    orders: list[Order]
    rows: list[Row]

    @property
    def results(self) -> Path:
        """The results folder."""
        return Path(self.spec.results)


def plan_experiment(file: Path) -> ExperimentPlan:
    """All jobs and rows of an experiment file. Raises `InputError` naming the file for an unknown method or override,
    folds that cannot be, or another tool's predictions that lack a test case."""
    spec = read_spec(file)
    dataset = read_dataset(Path(spec.dataset))
    try:
        folds = make_folds(spec, dataset)
        orders, rows = _trained(spec, folds)
        scored, more = _external(spec, folds)
        _require_unique([*orders, *scored])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return ExperimentPlan(spec, folds, [*orders, *scored], [*rows, *more])


def _trained(spec: ExperimentSpec, folds: list[Fold]) -> tuple[list[Order], list[Row]]:
    """Jobs that train, and the rows they fill."""
    known: dict[str, Order] = {}
    rows = []
    for part, row, method, parameter, value, overrides in _variants(spec):
        names = []
        for fold in folds:
            for seed in spec.seeds:
                order = _order(spec, fold, seed, part, row, method, parameter, value, overrides)
                # The full method may stand in several tables; it is run once.
                same = known.setdefault(json.dumps(order.work(), sort_keys=True), order)
                names.append(same.job)
        rows.append(Row(part, row, parameter, value, tuple(names)))
    return list(known.values()), rows


def _external(spec: ExperimentSpec, folds: list[Fold]) -> tuple[list[Order], list[Row]]:
    """Jobs that score what other tools predicted, and a row each. Raises `InputError` where a test case is missing."""
    orders, rows = [], []
    for name, folder in spec.external.items():
        if not Path(folder).is_dir():
            raise InputError(f"{folder}: no such folder, expected the predictions of {name}")
        missing = sorted({case for fold in folds for case in fold.test} - by_case(Path(folder)).keys())
        if missing:
            raise InputError(f"{folder}: no prediction for {missing[0]}, expected one of every test case")
        jobs = [
            Order(
                job=f"external/{name}/fold-{fold.name}",
                part="comparison",
                row=name,
                method=name,
                dataset=spec.dataset,
                fold=fold.name,
                train_cases=(),
                test_cases=fold.test,
                seed=0,
                predictions=folder,
            )
            for fold in folds
        ]
        orders += jobs
        rows.append(Row("comparison", name, "", 0.0, tuple(job.job for job in jobs)))
    return orders, rows


def _require_unique(orders: list[Order]) -> None:
    names = [order.job for order in orders]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"job {min(twice)} comes twice, expected rows whose names differ in letters and digits")


def _variants(spec: ExperimentSpec) -> list[tuple[str, str, str, str, float, Overrides]]:
    """(part, row, method, parameter, value, overrides) of every row that is trained."""
    base = spec.base
    out: list[tuple[str, str, str, str, float, Overrides]] = []
    out += [("comparison", method, method, "", 0.0, {}) for method in spec.methods]
    out += [("ablation", row, base, "", 0.0, overrides) for row, overrides in spec.ablation.items()]
    for name, values in spec.sensitivity.items():
        out += [("sensitivity", f"{name} = {value:g}", base, name, float(value), {name: value}) for value in values]
    for kind, shares in (("slices", spec.effort.slices), ("pixels", spec.effort.pixels)):
        out += [("effort", f"{share:.0%} of the {kind}", base, kind, share, {}) for share in shares]
    return out


def _order(
    spec: ExperimentSpec,
    fold: Fold,
    seed: int,
    part: str,
    row: str,
    method: str,
    parameter: str,
    value: float,
    overrides: Overrides,
) -> Order:
    chosen = get_method(method)
    own = {f"method.{name}": entry for name, entry in spec.method.get(method, {}).items()}
    together = {**spec.settings, **own, **overrides}
    settings = chosen.configured(settings_with(spec.preset, together))
    steps = None if spec.minutes else spec.steps or settings.train.steps
    label = row if part == "comparison" else f"{part}/{row}"
    return Order(
        job=f"{_plain(label)}/fold-{_plain(fold.name)}/seed-{seed}",
        part=part,
        row=row,
        method=method,
        parameter=parameter,
        value=value,
        dataset=spec.dataset,
        fold=fold.name,
        train_cases=fold.train,
        test_cases=fold.test,
        seed=seed,
        steps=steps,
        minutes=spec.minutes,
        settings=settings,
    )


def _plain(name: str) -> str:
    """A name as part of a path."""
    return "".join(c if c.isalnum() or c in "._-/" else "_" for c in name)


def make_folds(spec: ExperimentSpec, dataset: Dataset) -> list[Fold]:
    """The folds by case id. Raises `InputError` for one without patients, or a patient on both sides."""
    patient = {case.id: case.patient for case in dataset.cases}
    scribbled = {case.id for case in dataset.cases if case.label is not None}
    dense = {case.id for case in dataset.cases if case.dense is not None}
    if isinstance(spec.folds, int):
        tested = sorted({patient[case] for case in dense})
        if len(tested) < spec.folds:
            raise InputError(f"{dataset.root}: {len(tested)} patients with dense labels, expected {spec.folds} folds")
        bounds = [round(len(tested) * i / spec.folds) for i in range(spec.folds + 1)]
        parts = [tested[low:high] for low, high in pairwise(bounds)]
        lists: tuple[FoldSpec, ...] = tuple(FoldSpec(name=str(i + 1), test=tuple(p)) for i, p in enumerate(parts))
    else:
        lists = spec.folds
    folds = []
    for index, fold in enumerate(lists):
        name = fold.name or str(index + 1)
        test = case_ids(fold.test, dataset, f"fold {name}, test")
        held_out = {patient[case] for case in test}
        train = (
            case_ids(fold.train, dataset, f"fold {name}, train")
            if fold.train
            else {case for case in scribbled if patient[case] not in held_out}
        )
        both = sorted(held_out & {patient[case] for case in train})
        if both:
            raise InputError(f"fold {name}: patient {both[0]} is on both sides, expected it on one")
        if not test:
            raise InputError(f"fold {name}: no patient to test on, expected at least one")
        train &= scribbled
        if not train:
            raise InputError(f"fold {name}: no patient with scribbles to train on, expected at least one")
        unknown = sorted(test - dense)
        if unknown:
            raise InputError(
                f"{dataset.root / 'labelsTr_dense' / unknown[0]}: no dense label, but fold {name} tests on it"
            )
        folds.append(Fold(name, tuple(sorted(train)), tuple(sorted(test))))
    names = [fold.name for fold in folds]
    if len(set(names)) < len(names):
        raise InputError(f"folds {', '.join(names)}: a name comes twice, expected different ones")
    return folds


def place_orders(plan: ExperimentPlan) -> None:
    """Write every job's order into its folder. Raises `InputError` where a job of other settings lies there."""
    for order in plan.orders:
        path = plan.results / "jobs" / order.job / ORDER_NAME
        if path.exists():
            before, now = load_tree(Order, path).work(), order.work()
            changed = _first_difference(before, now)
            if changed:
                raise InputError(f"{path}: was begun with {changed}, or name another results")
    for order in plan.orders:
        path = plan.results / "jobs" / order.job / ORDER_NAME
        if not path.exists():
            save_tree(order, path)


def _first_difference(before: Any, now: Any, name: str = "") -> str:
    """`name value` of the first entry of two trees that differs, as it was before."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            found = _first_difference(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
            if found:
                return found
        return ""
    return "" if before == now else f"{name} {before!r} instead of {now!r}"[:200]
