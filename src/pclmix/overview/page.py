"""The page of a prediction run: cases by doubt, what they look like, how large their structures are."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from pclmix.config import Plan
from pclmix.digits import readable
from pclmix.labels import colour
from pclmix.overview.cardiac import CARDIAC_NAME, DENSITY, Heart, hearts, write_hearts
from pclmix.overview.facts import SUMMARY_NAME, CaseFacts, by_doubt, write_summary
from pclmix.pages import write_body

PICTURES = "pictures"
PAGE_NAME = "index.html"


def picture_path(out: Path, case: str) -> Path:
    """Where the thumbnails of a case lie."""
    return out / PICTURES / f"{case}.png"


def write_overview(out: Path, cases: Sequence[CaseFacts], plan: Plan) -> None:
    """Write the page and the CSV files beside it; the thumbnails are there already."""
    write_summary(out / SUMMARY_NAME, cases, bool(plan.doubt))
    found = hearts(cases)
    parts = [_words(plan), _legend(plan)]
    if found:
        write_hearts(out / CARDIAC_NAME, found)
        parts.append(_heart_table(found))
    parts.append(_case_table(cases, plan))
    write_body(out / PAGE_NAME, f"{len(cases)} segmented cases", "\n".join(parts))


def _words(plan: Plan) -> str:
    if plan.doubt:
        how = (
            "It was fitted to the true Dice of validation cases. Where it is low the outlines are likely to need "
            "mending; where it is high they may still be wrong, above all on images unlike those the model learnt from."
        )
    else:
        how = (
            "It is <b>uncalibrated</b>: how sure the network is, which is not how right it is. Use it to sort cases, "
            "not as a figure."
        )
    return (
        "<p>Sorted by doubt: the least expected Dice, mean of the structures, comes first. Expected Dice (0 to 1) is "
        f"the overlap with an expert's outline that a prediction of this kind has. {how} The numbers are in "
        f'<a href="{SUMMARY_NAME}">{SUMMARY_NAME}</a>.</p>'
    )


def _legend(plan: Plan) -> str:
    marks = [
        f'<span style="color: rgb{colour(value)}">&#9632;</span> {html.escape(name)}'
        for value, name in enumerate(plan.class_names)
        if value
    ]
    return f"<p>{' &nbsp; '.join(marks)}</p>"


def _case_table(cases: Sequence[CaseFacts], plan: Plan) -> str:
    names = plan.class_names[1:]
    head = ["case", "slices", *(f"{name}, ml" for name in names), *(f"{name}, expected Dice" for name in names), "mean"]
    rows = []
    for facts in by_doubt(cases):
        picture = f'<img src="{html.escape(f"{PICTURES}/{facts.case}.png")}" alt="" loading="lazy">'
        figures = [readable(facts.volumes[name], 1) for name in names]
        figures += [f"{facts.expected[name]:.2f}" for name in names]
        rows.append([html.escape(facts.case), picture, *figures, f"{facts.mean_expected:.2f}"])
    return "<h2>Cases</h2>\n" + _table(head, rows)


def _heart_table(found: Sequence[Heart]) -> str:
    head = ["patient", "ED", "ES", "EDV, ml", "ESV, ml", "SV, ml", "EF, %", "RV EDV, ml", "RV ESV, ml", "RV EF, %"]
    rows = []
    for one in found:
        figures = [one.lv_ed, one.lv_es, one.stroke_volume, _percent(one.ejection_fraction), one.rv_ed, one.rv_es]
        figures += [_percent(one.right_ejection_fraction), one.mass]
        shown = ["" if value is None else f"{value:.0f}" for value in figures]
        rows.append([html.escape(text) for text in (one.patient, one.ed, one.es)] + shown)
    formulas = (
        "<p>Of patients of whom there are just two frames, PATIENT_frameNN. ED is the frame with the larger left "
        "ventricle (LV), ES the other; EDV and ESV are its volumes there. Stroke volume SV = EDV - ESV; ejection "
        "fraction EF = (EDV - ESV) / EDV; "
        f"myocardial mass = volume of Myo at ED x {DENSITY} g/ml. Also in "
        f'<a href="{CARDIAC_NAME}">{CARDIAC_NAME}</a>.</p>'
    )
    return "<h2>Hearts</h2>\n" + formulas + _table([*head, "mass, g"], rows)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>\n{body}</table>"
