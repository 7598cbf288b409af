"""The report's blocks, and how each is written as Markdown, HTML, LaTeX and CSV; text is escaped here and only here."""

import csv
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from pclmix.files import atomic_path


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 or below."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of lines of plain text."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A picture beside the page."""

    file: str
    caption: str


@dataclass(frozen=True)
class Cell:
    """Text of a cell, in bold where it is the best of its column."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """A table; `name` is that of its .tex file; `apart` are rows set apart from those above them by a rule."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    apart: frozenset[int] = field(default_factory=frozenset)


Block = Heading | Text | Items | Picture | Table


@dataclass(frozen=True)
class Sheet:
    """Numbers for other programs: a CSV file `name`.csv."""

    name: str
    header: tuple[str, ...]
    rows: list[list[Any]]


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The whole report as Markdown."""
    return "\n\n".join([f"# {_markdown(title)}", *map(_markdown_block, blocks)]) + "\n"


def to_html(blocks: Sequence[Block]) -> str:
    """The body of the page, without its title."""
    return "\n".join(map(_html_block, blocks))


def to_latex(table: Table) -> str:
    r"""A `tabular` for `\input`, which needs the package booktabs; the caption is a comment above it."""
    lines = [f"% {' '.join(table.caption.split())}", "% needs \\usepackage{booktabs}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", "\\toprule"]
    lines += [" & ".join(map(_latex, table.header)) + r" \\", "\\midrule"]
    for index, row in enumerate(table.rows):
        if index in table.apart and index:
            lines.append("\\midrule")
        cells = [f"\\textbf{{{_latex(cell.text)}}}" if cell.bold else _latex(cell.text) for cell in row]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def markdown_table(table: Table) -> str:
    """The table alone, its columns aligned, so that it reads in a terminal too."""
    cells = [[_markdown(name) for name in table.header]]
    cells += [[f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in row] for row in table.rows]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.header))]
    rule = [f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = []
    for first, *others in [cells[0], rule, *cells[1:]]:
        right = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append(f"| {' | '.join([first.ljust(widths[0]), *right])} |")
    return "\n".join(lines)


def write_text(path: Path, text: str) -> Path:
    """Write a text file, atomically, and name it."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def to_csv(sheet: Sheet) -> str:
    """The sheet as CSV; numbers with 6 decimals, `inf` and `nan` by name."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(sheet.header)
    writer.writerows([f"{v:.6f}" if isinstance(v, float) else v for v in row] for row in sheet.rows)
    return out.getvalue()


def _markdown_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_markdown(text)}"
        case Text(text):
            return _markdown(text)
        case Items(lines):
            return "\n".join(f"- {_markdown(line)}" for line in lines)
        case Picture(file, caption):
            return f"![{_markdown(Path(file).stem)}]({file})\n\n{_markdown(caption)}"
        case Table():
            return f"{_markdown(block.caption)}\n\n{markdown_table(block)}"


def _html_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Items(lines):
            return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"
        case Picture(file, caption):
            text = html.escape(caption)
            return f'<figure><img src="{html.escape(file)}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        case Table():
            return _html_table(block)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    lines = [f"<p>{html.escape(table.caption)}</p>", f'<div style="overflow-x:auto"><table><tr>{head}</tr>']
    for index, row in enumerate(table.rows):
        style = ' style="border-top:2px solid #888"' if index in table.apart else ""
        texts = [html.escape(cell.text) for cell in row]
        cells = [
            f"<td><b>{text}</b></td>" if c.bold else f"<td>{text}</td>" for c, text in zip(row, texts, strict=True)
        ]
        lines.append(f"<tr{style}>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table></div>"])


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))
    # Inside a word an underscore is only that, and names of cases and settings are full of them.
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "×": r"$\times$", "–": "--",
}  # fmt: skip


def _latex(text: str) -> str:
    # The brackets of an interval would be read as the optional argument of the \\ before them.
    parts = "".join(LATEX.get(character, character) for character in text)
    parts = re.sub(r"(?<!\w)-(?=\d)", "$-$", parts)
    return f"{{{parts}}}" if parts.startswith("[") else parts
