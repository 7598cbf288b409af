"""The report's files: numbers, escapes, pictures, and what is said where something is missing."""

import csv
import json
import shutil
from html.parser import HTMLParser

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from pclmix.cli import app
from pclmix.report.document import Cell, Heading, Table, Text, to_html, to_latex, to_markdown
from pclmix.report.write import write_report

from .conftest import shifts


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.images, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def line(text, name):
    """The first row of a Markdown table that starts with `name`."""
    return next(line for line in text.splitlines() if line.startswith(f"| {name} "))


def test_the_whole_report(results):
    paths = write_report(results)
    report = results / "report"
    assert paths[0] == report / "report.md" and sorted(paths) == sorted(report.iterdir())
    text = paths[0].read_text()
    assert "**0.925 (0.000)**" in line(text, "pclmix") and "0.0354" in line(text, "pclmix")
    assert "0.0 (0.0) +1 inf" in line(text, "pce")
    assert "**" not in line(text, "full (upper bound)") and "0.950 (0.041)" in line(text, "full (upper bound)")
    assert "1.000 (0.000)" in line(text, "late (1 of 2 runs)") and "**" not in line(text, "late (1 of 2 runs)")
    assert "**1.000 (0.000)**" in line(text, "nnU-Net (external)")
    assert "-0.175" in line(text, "no_mix") and "1.03 %" in line(text, "no_mix")
    for expected in (
        "22 of 23 runs finished", r"late/fold-3/seed-0: no memory \| left", "0123456789ab", "EPYC (2 cores)",
        "fold 2: tested on 3 (p4, p5, p6); trained on 3 (p1, p2, p3)", "torch 2.13", "by mean Dice of full;",
        "Median case p3_es, slice 3 of 4, Dice of the volume: pclmix 0.950", "| 0.5 |", "\\<0.001",
    ):  # fmt: skip
        assert expected in " ".join(text.split()) or expected in text, expected
    assert "Warning" not in text
    reader = Reader()
    reader.feed((report / "report.html").read_text())
    assert reader.open == [] and "Hearts <b> & scribbles" in reader.text
    assert reader.images == ["sensitivity_method.auxiliary.png", "effort.png", "qualitative.png"]
    for name in reader.images:
        assert imread(report / name)[..., :3].std() > 0.01
    with (report / "scores.csv").open(newline="") as file:
        lines = [row for row in csv.DictReader(file) if (row["row"], row["case"]) == ("pce", "p2_es")]
    assert [(row["fold"], row["patient"], row["label"], row["dice"], row["hd95_mm"]) for row in lines] == [
        ("1", "p2", "1", "0.600000", "6.000000"),
        ("1", "p2", "2", "0.000000", "inf"),
    ]
    with (report / "comparison.csv").open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert float(rows["pce"]["versus_holm_dice"]) == pytest.approx(6 / 2**12, abs=1e-6)
    assert (rows["late"]["finished"], rows["late"]["jobs"], rows["late"]["versus_p_dice"]) == ("1", "2", "nan")
    again = {path: path.read_bytes() for path in paths}
    (report / "sensitivity_gone.png").write_bytes(b"of an earlier report")
    (report / "notes.txt").write_text("mine")
    assert {path: path.read_bytes() for path in write_report(results)} == again
    assert (report / "notes.txt").exists() and not (report / "sensitivity_gone.png").exists()


def test_latex(results):
    write_report(results)
    text = (results / "report" / "comparison.tex").read_text()
    assert r"Dice R\&V & Dice L\_V" in text and r"\textbf{0.925 (0.000)}" in text
    assert text.count(r"\midrule") == 2 and text.rstrip().endswith(r"\end{tabular}")
    tests = (results / "report" / "comparison_tests.tex").read_text()
    assert "$-$0.075" in tests and "$<$0.001" in tests and "$-$0.250" in tests


def test_text_is_escaped_in_every_format():
    name = r"<i>|50 %_a\b{c}"
    table = Table("t", name, ("method", "x"), ((Cell(name), Cell("[0.1, 0.2]", True)),))
    assert r"\<i\>\|50 %\_a\\b{c}" in to_markdown(name, [table])
    assert "<i>" not in to_html([Heading(name), Text(name), table])
    assert r"$<$i$>$|50 \%\_a\textbackslash{}b\{c\} & \textbf{{[0.1, 0.2]}} \\" in to_latex(table)


def test_without_the_data_set_there_is_no_picture_but_a_reason(maker):
    maker.row("comparison", "pclmix", [maker.job("pclmix", shifts(1))])
    maker.write()
    shutil.rmtree(maker.dataset)
    text = write_report(maker.root)[0].read_text()
    assert "Not drawn:" in text and "dataset.json: no such file" in text
    assert not (maker.root / "report" / "qualitative.png").exists()


def test_many_methods_and_predictions_that_were_deleted(maker):
    for index in range(7):
        maker.row("comparison", f"m{index}", [maker.job(f"m{index}", {"p1_ed": index})])
    shutil.rmtree(maker.root / "jobs" / "m3" / "predictions")
    text = write_report(maker.write())[0].read_text()
    assert "m3 0.850, m4 0.800" in text and "No tests: the comparison has no row pclmix" in text
    assert "as there is no upper bound" in text
    height, width = imread(maker.root / "report" / "qualitative.png").shape[:2]
    assert height > width * 0.9  # eight panels a case in two lines of four, two cases


def test_runs_that_differ_are_warned_of(maker):
    jobs = [maker.job("a/0", {"p1_ed": 1}), maker.job("a/1", {"p2_ed": 1}, fold="2")]
    path = maker.root / "jobs" / "a" / "1" / "job.json"
    tree = json.loads(path.read_text())
    tree["provenance"] |= {"commit": "fedcba", "dirty": True, "gpu": "H100", "versions": {"torch": "2.8"}}
    path.write_text(json.dumps(tree))
    maker.row("comparison", "pclmix", jobs)
    text = write_report(maker.write())[0].read_text()
    for kind in ("commit: 0123456789abcdef; fedcba (dirty)", "versions", "hardware"):
        assert f"The runs differ in {kind}" in text
    assert "1 of 2 runs were made with changes" in text


def test_the_command_prints_the_comparison_and_the_files(results):
    made = CliRunner().invoke(app, ["report", str(results)])
    assert made.exit_code == 0 and "**0.925 (0.000)**" in made.stdout
    assert str(results / "report" / "report.html") in made.stdout.splitlines()
    missing = CliRunner().invoke(app, ["report", str(results / "nowhere")])
    assert missing.exit_code == 2 and "experiment.toml: no such file" in missing.stderr
