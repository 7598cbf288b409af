"""Figures of a heart from its two segmented frames, end of diastole and end of systole.

EF = (EDV - ESV) / EDV, stroke volume = EDV - ESV, myocardial mass = volume of the myocardium at end-diastole
x 1.05 g/ml. The frame with the larger left ventricle is end-diastole. Classes are known by their names, in any case:
LV (the cavity), and if they are there Myo (its muscle) and RV.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pclmix.files import atomic_path
from pclmix.overview.facts import CaseFacts

DENSITY = 1.05
"""g/ml of myocardium, as is usual."""

FRAME = re.compile(r"(.+)_frame(\d+)", re.IGNORECASE)
CARDIAC_NAME = "cardiac.csv"


@dataclass(frozen=True)
class Heart:
    """`ed`, `es`: cases; volumes in ml, mass in g, fractions of 1; None where the class or the division is missing."""

    patient: str
    ed: str
    es: str
    lv_ed: float
    lv_es: float
    rv_ed: float | None
    rv_es: float | None
    mass: float | None

    @property
    def stroke_volume(self) -> float:
        """Of the left ventricle, ml."""
        return self.lv_ed - self.lv_es

    @property
    def ejection_fraction(self) -> float | None:
        """Of the left ventricle."""
        return ejection_fraction(self.lv_ed, self.lv_es)

    @property
    def right_ejection_fraction(self) -> float | None:
        """Of the right ventricle."""
        return None if self.rv_ed is None or self.rv_es is None else ejection_fraction(self.rv_ed, self.rv_es)


def ejection_fraction(end_diastole: float, end_systole: float) -> float | None:
    """(EDV - ESV) / EDV; None without a volume to divide by."""
    return (end_diastole - end_systole) / end_diastole if end_diastole > 0 else None


def hearts(cases: Sequence[CaseFacts]) -> list[Heart]:
    """One of each patient of whom there are just two cases PATIENT_frameNN, where there is a class LV; by patient."""
    frames: dict[str, list[CaseFacts]] = {}
    for facts in cases:
        if (match := FRAME.fullmatch(facts.case)) and _volume(facts.volumes, "lv") is not None:
            frames.setdefault(match[1], []).append(facts)
    return [_heart(patient, pair) for patient, pair in sorted(frames.items()) if len(pair) == 2]


def write_hearts(path: Path, found: Sequence[Heart]) -> None:
    """A line a patient; what is not known stays empty."""
    columns = ["patient", "ed", "es", "lv_edv_ml", "lv_esv_ml", "stroke_volume_ml", "ejection_fraction"]
    columns += ["rv_edv_ml", "rv_esv_ml", "rv_ejection_fraction", "myocardial_mass_g"]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for one in found:
            figures = [one.lv_ed, one.lv_es, one.stroke_volume, one.ejection_fraction, one.rv_ed, one.rv_es]
            figures += [one.right_ejection_fraction, one.mass]
            shown = ["" if value is None else f"{value:.3f}" for value in figures]
            writer.writerow([one.patient, one.ed, one.es, *shown])


def _heart(patient: str, pair: Sequence[CaseFacts]) -> Heart:
    ed, es = sorted(pair, key=lambda facts: -(_volume(facts.volumes, "lv") or 0))
    muscle = _volume(ed.volumes, "myo")
    return Heart(
        patient=patient,
        ed=ed.case,
        es=es.case,
        lv_ed=_volume(ed.volumes, "lv") or 0.0,
        lv_es=_volume(es.volumes, "lv") or 0.0,
        rv_ed=_volume(ed.volumes, "rv"),
        rv_es=_volume(es.volumes, "rv"),
        mass=None if muscle is None else muscle * DENSITY,
    )


def _volume(volumes: Mapping[str, float], name: str) -> float | None:
    return next((volume for known, volume in volumes.items() if known.lower() == name), None)
