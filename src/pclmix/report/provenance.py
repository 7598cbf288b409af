"""Where every number comes from: commit, versions, seed, split, hardware and hours of each run."""

from collections.abc import Callable

from pclmix.report.document import Block, Cell, Items, Sheet, Table, Text
from pclmix.report.results import Job, Results
from pclmix.report.tables import NONE


def hardware(job: Job) -> str:
    """The GPU, else the CPU with its cores."""
    cpu = str(job.provenance.get("cpu") or "")
    cores = job.provenance.get("cores")
    machine = f"{cpu or 'CPU'} ({cores} cores)" if cores else cpu
    gpu = str(job.provenance.get("gpu") or "")
    return f"{gpu}, {machine}" if gpu and machine else gpu or machine or NONE


def commit(job: Job) -> str:
    """The full commit, marked where the tree had changes of its own."""
    name = str(job.provenance.get("commit") or "unknown")
    return f"{name} (dirty)" if job.provenance.get("dirty") else name


def versions(job: Job) -> dict[str, str]:
    """Versions of Python, of pclmix and of the libraries."""
    own = {"pclmix": job.provenance.get("version"), "python": job.provenance.get("python")}
    found = {**own, **(job.provenance.get("versions") or {})}
    return {name: str(version) for name, version in found.items() if version}


def warnings(results: Results) -> list[str]:
    """What makes the runs hard to compare or to repeat: they differ in commit, versions or hardware, or are dirty."""
    jobs = [job for job in results.jobs.values() if not job.external]
    kinds: dict[str, Callable[[Job], str]] = {
        "commit": commit,
        "versions": lambda job: ", ".join(f"{name} {version}" for name, version in sorted(versions(job).items())),
        "hardware": hardware,
    }
    found = []
    for kind, of in kinds.items():
        values = sorted({of(job) for job in jobs})
        if len(values) > 1:
            found.append(f"The runs differ in {kind}: {'; '.join(values)}.")
    dirty = sum(bool(job.provenance.get("dirty")) for job in jobs)
    if dirty:
        found.append(f"{dirty} of {len(jobs)} runs were made with changes that are in no commit (dirty).")
    unknown = sum(str(job.provenance.get("commit") or "unknown") == "unknown" for job in jobs)
    if unknown:
        found.append(f"{unknown} of {len(jobs)} runs do not know their commit.")
    if found:
        found.append("See the table of runs below.")
    return found


def provenance_blocks(results: Results) -> list[Block]:
    """The table of runs, the versions once, and the split."""
    jobs = list(results.jobs.values())
    header = ("run", "commit", "steps", "hours", "hardware", "seed", "fold", "began")
    rows = [
        (
            job.name, _short(job), NONE if job.steps is None else str(job.steps), _hours(job), hardware(job),
            str(job.seed), job.fold or NONE, str(job.provenance.get("began") or NONE),
        )
        for job in jobs
    ]  # fmt: skip
    caption = "All finished runs; jobs/RUN/job.json beside this report holds every setting of each"
    table = Table("provenance", caption, header, tuple(tuple(map(Cell, row)) for row in rows))
    names = sorted({name for job in jobs for name in versions(job)})
    used = [f"{name} {' or '.join(sorted({v[name] for j in jobs if name in (v := versions(j))}))}" for name in names]
    commits = sorted({commit(job) for job in jobs if not job.external})
    blocks: list[Block] = [table]
    if commits:
        blocks.append(Text(f"Commits: {', '.join(commits)}."))
    if used:
        blocks.append(Text(f"Versions: {', '.join(used)}."))
    return [*blocks, Text("Split, patients tested on and trained on:"), Items(tuple(_split(jobs)))]


def provenance_sheet(results: Results) -> Sheet:
    """A line a run, with the full commit and the patients."""
    header = (
        "job", "method", "fold", "seed", "commit", "steps", "seconds", "hardware", "host", "began", "ended",
        "annotated", "train_slices", "train_patients", "test_patients", "versions",
    )  # fmt: skip
    lines = [
        [
            job.name, job.method, job.fold, job.seed, commit(job), job.steps, job.seconds, hardware(job),
            job.provenance.get("host", ""), job.provenance.get("began", ""), job.provenance.get("ended", ""),
            job.annotated, job.train_slices, " ".join(job.train_patients), " ".join(job.test_patients),
            " ".join(f"{name}={version}" for name, version in sorted(versions(job).items())),
        ]
        for job in results.jobs.values()
    ]  # fmt: skip
    return Sheet("provenance", header, lines)


def _split(jobs: list[Job]) -> list[str]:
    lines = []
    for fold in sorted({job.fold for job in jobs if not job.external}):
        splits: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for job in jobs:
            if job.fold == fold and not job.external:
                splits.setdefault((job.test_patients, job.train_patients), []).append(job.name)
        for (test, train), names in splits.items():
            of = f" of {', '.join(names)}" if len(splits) > 1 else ""
            lines.append(
                f"fold {fold or NONE}{of}: tested on {len(test)} ({', '.join(test)}); "
                f"trained on {len(train)} ({', '.join(train)})"
            )
    return lines


def _short(job: Job) -> str:
    name, _, mark = commit(job).partition(" ")
    return f"{name[:12]} {mark}".strip() if not job.external else NONE


def _hours(job: Job) -> str:
    return NONE if job.seconds is None else f"{job.seconds / 3600:.3g}"
