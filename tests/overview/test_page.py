"""The page: sorted by doubt, says whether it is calibrated, and holds what the CSV files hold."""

from pclmix.config import Plan
from pclmix.overview.facts import CaseFacts
from pclmix.overview.page import write_overview


def plan(**changes):
    return Plan(
        channels=("mr",), classes={"background": 0, "LV": 1, "Myo": 2}, spacing=(1, 1), crop=(8, 8), batch=2,
        intensity=("zscore",), **changes,
    )  # fmt: skip


def facts(case, lv, dice):
    return CaseFacts(case, {"LV": lv, "Myo": 100.0}, {"LV": dice, "Myo": 0.9})


def test_cases_by_doubt_hearts_with_formulas_and_files_beside(tmp_path):
    write_overview(tmp_path, [facts("p_frame01", 120, 0.95), facts("p_frame09", 48, 0.41)], plan(doubt=((0, 1),) * 2))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    table = page[page.index("<h2>Cases</h2>") :]
    assert table.index("p_frame09") < table.index("p_frame01")
    assert "0.41" in table and "pictures/p_frame09.png" in table and "uncalibrated" not in page
    assert "EF = (EDV - ESV) / EDV" in page and "<td>60</td>" in page and "1.05 g/ml" in page
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "summary.csv", "cardiac.csv"}


def test_without_a_calibration_the_page_says_so_and_names_are_escaped(tmp_path):
    write_overview(tmp_path, [facts("<b>&", 120, 0.95)], plan())
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "uncalibrated" in page and "&lt;b&gt;&amp;" in page and "<td><b>&" not in page
    assert not (tmp_path / "cardiac.csv").exists()
