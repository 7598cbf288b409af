"""Static HTML pages: one file, pictures beside it, no script and no network."""

import html
from collections.abc import Sequence
from pathlib import Path

from pclmix.digits import readable
from pclmix.evaluate import Evaluation
from pclmix.files import atomic_path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { max-width: 100%; border: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .9rem; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; }
figcaption, footer { color: #666; font-size: .9rem; }
"""


def write_page(
    path: Path, title: str, paragraphs: Sequence[str], figures: Sequence[tuple[str, str]], table: str
) -> None:
    """Write a page: paragraphs (plain text), a table (HTML), and figures as (file name, caption)."""
    parts = [f"<p>{html.escape(text)}</p>" for text in paragraphs]
    parts.append(table)
    for name, caption in figures:
        text = html.escape(caption)
        parts.append(f'<figure><img src="{html.escape(name)}" alt="{text}"><figcaption>{text}</figcaption></figure>')
    write_body(path, title, "\n".join(parts))


def write_body(path: Path, title: str, body: str) -> None:
    """Write a page: its title as heading, then `body` (HTML)."""
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n{body}\n"
        "<footer>Not for clinical decisions.</footer></body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def score_table(evaluation: Evaluation, names: Sequence[str]) -> str:
    """An HTML table of Dice and HD95 a class; `names` by label value."""
    rows = [(names[label], summary) for label, summary in evaluation.classes.items()] + [("mean", evaluation.mean)]
    lines = [
        f"<tr><td>{html.escape(name)}</td><td>{s.dice:.3f}</td><td>{readable(s.hd95, 1)}</td><td>{s.infinite}</td></tr>"
        for name, s in rows
    ]
    return "<table><tr><th>class</th><th>Dice</th><th>HD95, mm</th><th>infinite</th></tr>" + "".join(lines) + "</table>"
