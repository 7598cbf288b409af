"""Ejection fraction and mass by hand-computed numbers."""

import csv

import pytest

from pclmix.overview.cardiac import hearts, write_hearts
from pclmix.overview.facts import CaseFacts


def frame(case, **volumes):
    return CaseFacts(case, volumes, dict.fromkeys(volumes, 0.9))


def test_the_larger_ventricle_is_end_diastole_and_the_fractions_follow():
    pair = [frame("p1_frame01", LV=60.0, Myo=90.0, RV=70.0), frame("p1_frame12", LV=150.0, Myo=100.0, RV=140.0)]
    (heart,) = hearts(pair)
    assert (heart.patient, heart.ed, heart.es) == ("p1", "p1_frame12", "p1_frame01")
    assert heart.stroke_volume == 90 and heart.ejection_fraction == pytest.approx(0.6)
    assert heart.right_ejection_fraction == pytest.approx(0.5) and heart.mass == pytest.approx(105.0)


def test_names_of_classes_in_any_case_and_what_is_missing_stays_out():
    (heart,) = hearts([frame("p_frame1", lv=100.0), frame("p_frame2", lv=50.0)])
    assert heart.ejection_fraction == 0.5
    assert heart.mass is None and heart.right_ejection_fraction is None
    assert hearts([frame("p_frame1", lv=0.0), frame("p_frame2", lv=0.0)])[0].ejection_fraction is None


def test_only_pairs_of_frames_of_hearts():
    assert hearts([frame("p_frame1", LV=1.0)]) == []
    assert hearts([frame(f"p_frame{index}", LV=1.0) for index in range(3)]) == []
    assert hearts([frame("a", LV=1.0), frame("b", LV=2.0)]) == []
    assert hearts([frame("p_frame1", liver=1.0), frame("p_frame2", liver=2.0)]) == []


def test_the_file_has_a_line_a_patient(tmp_path):
    found = hearts([frame("p_frame1", LV=100.0), frame("p_frame2", LV=40.0)])
    write_hearts(tmp_path / "cardiac.csv", found)
    (row,) = csv.DictReader((tmp_path / "cardiac.csv").read_text(encoding="utf-8").splitlines())
    assert row["ejection_fraction"] == "0.600" and row["lv_esv_ml"] == "40.000" and row["myocardial_mass_g"] == ""
