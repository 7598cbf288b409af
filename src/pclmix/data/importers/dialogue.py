"""Asks at a terminal what the values mean. Nothing is taken for granted: what is proposed is shown, and confirmed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pclmix.data.importers.meanings import BACKGROUND, UNLABELLED, Meanings, known_name
from pclmix.data.importers.survey import Survey, ValueFacts

Ask = Callable[[str], str]
"""Shows a text and gives the line that is answered."""

ZERO = """{facts}: what does it mean?
  u  unlabelled: nobody looked there, and training takes nothing from it. Painting tools (ITK-SNAP, 3D Slicer, napari)
     write it where nothing is painted; strokes on the background then have a value of their own.
  b  background: somebody looked, and no structure is there. Research data have it, and another, high value for the
     rest; as `b` a voxel that was only never painted would be learnt as wrong.
See the strokes in {sheet}
u or b?"""


def ask_meanings(told: Meanings, survey: Survey, sheet: Path, ask: Ask) -> Meanings:
    """Ask about each value that `told` does not explain, the lowest first, until the answers are confirmed."""
    while True:
        meanings = told
        for facts in survey.values:
            if meanings.of(facts.value) is None:
                meanings = _ask_value(meanings, facts, survey, sheet, ask)
        if not meanings.structures:
            ask("No value is a structure, so there is nothing to learn. Press Enter to begin again.")
            continue
        lines = [f"  {facts.value}: {meanings.of(facts.value)}" for facts in survey.values]
        question = f"\nSo, to say it without questions: {meanings.flags()}\nIs this right? Enter goes on, n asks again."
        if ask("\n".join(lines) + question).lower() not in ("n", "no"):
            return meanings


def _ask_value(meanings: Meanings, facts: ValueFacts, survey: Survey, sheet: Path, ask: Ask) -> Meanings:
    told = f"Value {facts.value}, {facts.share:.2%} of the voxels, in {facts.cases} of {len(survey.counts)} cases"
    if facts.value == 0 and meanings.background is None and meanings.unlabelled is None:
        answer = ask(ZERO.format(facts=told, sheet=sheet)).lower()
        while answer not in ("u", UNLABELLED, "b", BACKGROUND):
            answer = ask("Please answer u or b.").lower()
        return _with(meanings, UNLABELLED if answer.startswith("u") else BACKGROUND, 0)
    free = [f"`{BACKGROUND}` for strokes on the background"] if meanings.background is None else []
    free += [f"`{UNLABELLED}` for what nobody looked at"] if meanings.unlabelled is None else []
    by_value = {value: name for name, value in survey.named.items()}
    proposal = by_value.get(facts.value, f"structure{facts.value}")
    question = f"{told}: the name of a structure{''.join(f', or {text}' for text in free)}. Enter for `{proposal}`:"
    answer = known_name(ask(question) or proposal)
    while refusal := _refusal(meanings, answer):
        answer = known_name(ask(refusal) or proposal)
    return _with(meanings, answer, facts.value)


def _refusal(meanings: Meanings, name: str) -> str | None:
    """Why a name will not do, or None."""
    if name.lower() == "ignore" or "," in name or "=" in name:
        return f"`{name}` is no name for a structure (nothing with , or =). Another:"
    taken = {**meanings.named, **({} if meanings.unlabelled is None else {UNLABELLED: meanings.unlabelled})}
    return f"`{name}` is value {taken[name]} already. Another:" if name in taken else None


def _with(meanings: Meanings, name: str, value: int) -> Meanings:
    if name == BACKGROUND:
        return replace(meanings, background=value)
    if name == UNLABELLED:
        return replace(meanings, unlabelled=value)
    return replace(meanings, structures={**meanings.structures, name: value})
