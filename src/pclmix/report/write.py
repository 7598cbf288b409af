"""The whole report: its sections in order, then the files."""

from pathlib import Path

from pclmix.errors import InputError
from pclmix.pages import write_body
from pclmix.report.document import (
    Block,
    Heading,
    Items,
    Picture,
    Sheet,
    Table,
    Text,
    markdown_table,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    write_text,
)
from pclmix.report.figures import by_parameter, save_curve, sensitivity_file
from pclmix.report.provenance import provenance_blocks, provenance_sheet, warnings
from pclmix.report.qualitative import save_qualitative
from pclmix.report.results import DEFAULT, PLAIN, Results, Row, read_results
from pclmix.report.scores import Versus, compare, row_scores
from pclmix.report.sheets import summary_sheet, volume_sheet
from pclmix.report.tables import score_table, varied_table, versus_table

NAMES = ("comparison", "comparison_plain", "comparison_tests", "ablation", "sensitivity", "effort", "provenance")
OURS = {
    "report.md", "report.html", "effort.png", "qualitative.png", "scores.csv", "scores_plain.csv",
    *(f"{name}.{ending}" for name in NAMES for ending in ("tex", "csv")),
}  # fmt: skip
"""File names of a report, beside sensitivity_*.png; what is left of an earlier one is removed."""

HOW = (
    "Dice on the 3-D volume in the native grid; HD95 in mm, both directions pooled. A number is the mean (standard "
    "deviation) over volumes, all folds pooled; with several seeds a volume counts once, with its mean over seeds.",
    "The mean HD95 is over the finite distances; the infinite ones (one of the two masks is empty) are counted beside "
    "it, a volume and class once, also where only one of several seeds is infinite. The last HD95 is the mean of the "
    "classes' means, as pclmix evaluate gives it.",
    "Bold is the best complete row, the upper bound aside: highest Dice, or fewest infinite HD95 and then the lowest "
    "mean.",
    "Tests: Wilcoxon's signed-rank test (1945), two-sided, paired over volumes, of the mean Dice of the classes and of "
    "their mean HD95; volumes without a difference share their ranks between both signs (zsplit). A volume's HD95 is "
    "infinite where that of any class is; two infinite ones do not differ, and an infinite one differs from a finite "
    "one by the largest rank. p is corrected over all methods tested, by Holm (1979), for Dice and for HD95 apart. "
    "Frames of one patient count as volumes of their own here.",
    "Intervals: 95 % percentile bootstrap (Efron 1979) of the mean difference, 10,000 draws, seed 0, that resample "
    "patients with all their volumes.",
)


def write_report(results: Path) -> list[Path]:
    """Write results/report from results alone: report.md, report.html, tables as .tex and .csv, figures as .png.

    Returns the files written, report.md first. Files of an earlier report are replaced, those of no use any more
    removed. Raises `InputError` where `results` is no results folder or nothing in it finished.
    """
    found = read_results(results)
    out = Path(results) / "report"
    title = str(found.experiment.get("title") or "Experiment")
    tests = _tests(found)
    pictures: list[Path] = []
    blocks = [
        *_opening(found),
        *_comparison(found, tests),
        *_varied(found, out, pictures),
        *_qualitative(found, out, pictures),
        Heading("How the numbers are made"),
        Items(HOW),
        Heading("Where every number comes from"),
        *provenance_blocks(found),
    ]
    page = out / "report.html"
    write_body(page, title, to_html(blocks))
    written = [write_text(out / "report.md", to_markdown(title, blocks)), page]
    tables = [block for block in blocks if isinstance(block, Table)]
    written += [write_text(out / f"{table.name}.tex", to_latex(table)) for table in tables]
    written += [write_text(out / f"{sheet.name}.csv", to_csv(sheet)) for sheet in _sheets(found, tests)]
    written += pictures
    for path in out.iterdir():
        if path not in written and (path.name in OURS or path.match("sensitivity_*.png")):
            path.unlink()
    return written


def comparison_text(results: Path) -> str:
    """The table of the comparison as aligned text, or that of what else there is."""
    found = read_results(results)
    blocks = _comparison(found, {}) or _varied(found, None, [])
    return next((markdown_table(block) for block in blocks if isinstance(block, Table)), "no table: no row is known")


def _tests(results: Results) -> dict[str, Versus]:
    rows = [(row, row_scores(results, row, DEFAULT)) for row in results.comparison()]
    reference = next((scores for row, scores in rows if row.name == results.reference), None)
    return compare([scores for _, scores in rows if scores is not None], reference)


def _opening(results: Results) -> list[Block]:
    told = results.experiment
    facts = [f"{key} {told[key]}" for key in ("dataset", "preset", "steps", "minutes") if told.get(key)]
    count = f"{len(results.jobs)} of {len(results.jobs) + len(results.failures)} runs finished."
    blocks: list[Block] = [Text(f"{', '.join(facts)}. {count}" if facts else count)]
    if found := warnings(results):
        blocks += [Text("Warning:"), Items(tuple(found))]
    if results.failures:
        lines = tuple(f"{job}: {error}" for job, error in results.failures.items())
        blocks += [Text("Did not finish:"), Items(lines)]
    return blocks


def _comparison(results: Results, tests: dict[str, Versus]) -> list[Block]:
    rows = results.comparison()
    if not rows:
        return []
    caption = "Comparison, with post-processing: mean (standard deviation) over volumes, HD95 in mm"
    blocks: list[Block] = [Heading("Comparison"), score_table(results, rows, DEFAULT, "comparison", caption)]
    reference = results.reference_row()
    if reference is None:
        blocks.append(Text(f"No tests: the comparison has no row {results.reference}."))
    elif not results.complete(reference):
        blocks.append(Text(f"No tests: runs of {results.reference} are missing."))
    elif len(rows) > 1:
        blocks.append(versus_table(results, rows, tests))
    if any(PLAIN in job.scores for row in rows for job in results.finished(row)):
        external = any(row.part == "external" for row in rows)
        more = "; external predictions are as they were delivered and in the table above alone" if external else ""
        caption = f"Comparison without post-processing and averaging over copies{more}"
        blocks.append(score_table(results, rows, PLAIN, "comparison_plain", caption))
    return blocks


def _varied(results: Results, out: Path | None, pictures: list[Path]) -> list[Block]:
    """Ablation, sensitivity and effort; curves are drawn into `out` and named in `pictures`, without it left out."""
    blocks: list[Block] = []
    captions = {
        "ablation": ("Ablation", "Ablation: differences are from the complete method"),
        "sensitivity": ("Sensitivity", "Sensitivity: differences are from the default"),
        "effort": ("Dice against annotation effort", "Annotation effort: differences are from all annotations"),
    }
    for part, (heading, caption) in captions.items():
        rows = _ordered(results.part(part))
        if not rows:
            continue
        blocks += [Heading(heading), varied_table(results, rows, part, caption)]
        panels = by_parameter(rows)
        groups = (
            {"effort.png": panels} if part == "effort" else {sensitivity_file(n): {n: r} for n, r in panels.items()}
        )
        for name, group in groups.items():
            if part != "ablation" and out is not None and save_curve(out / name, results, group):
                caption = (
                    f"Mean Dice over {' and '.join(group)}; bars are 95 % bootstrap intervals of the mean over "
                    f"patients; a star is the runs of {results.reference} itself, a ring a row with runs missing"
                )
                blocks.append(Picture(name, caption))
                pictures.append(out / name)
    return blocks


def _ordered(rows: list[Row]) -> list[Row]:
    """Rows of one parameter together, by value where all its values are numbers."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.parameter, []).append(row)
    for group in groups.values():
        if all(isinstance(row.value, int | float) for row in group):
            group.sort(key=lambda row: row.value)
    return [row for group in groups.values() for row in group]


def _qualitative(results: Results, out: Path, pictures: list[Path]) -> list[Block]:
    if not results.comparison():
        return []
    blocks: list[Block] = [Heading("Median and worst case")]
    try:
        found = save_qualitative(out / "qualitative.png", results)
    except InputError as error:
        return [*blocks, Text(f"Not drawn: {error}.")]
    pictures.append(out / "qualitative.png")
    instead = "" if found.chooser == results.upper else ", as there is no upper bound"
    how = (
        f"The cases are the median and the worst by mean Dice of {found.chooser}{instead}; the slice is that with most"
    )
    text = f"{how} foreground in the truth, cropped round all that was drawn there. "
    text += "Dice is that of the run shown, the first seed."
    return [*blocks, Picture("qualitative.png", " ".join([text, *found.captions]))]


def _sheets(results: Results, tests: dict[str, Versus]) -> list[Sheet]:
    sheets = [volume_sheet(results, "scores", DEFAULT), provenance_sheet(results)]
    if any(PLAIN in job.scores for job in results.jobs.values()):
        sheets.append(volume_sheet(results, "scores_plain", PLAIN))
        sheets.append(summary_sheet(results, results.part("comparison"), "comparison_plain", PLAIN))
    sheets.append(summary_sheet(results, results.comparison(), "comparison", tests=tests))
    for part in ("ablation", "sensitivity", "effort"):
        if rows := _ordered(results.part(part)):
            sheets.append(summary_sheet(results, rows, part))
    return sheets
