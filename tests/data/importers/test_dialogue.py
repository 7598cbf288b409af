"""At a terminal every value is asked for until it has a meaning; elsewhere the options are demanded."""

import json

import pytest
from painted import CLASSES, folders

from pclmix.data.importers.folder import import_folder
from pclmix.errors import InputError


class Person:
    """Answers in turn, and remembers the questions."""

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def __call__(self, question):
        self.questions.append(question)
        return self.answers.pop(0)


def classes(folder):
    return json.loads((folder / "dataset.json").read_text())["labels"]


def test_every_value_is_asked_for(tmp_path):
    person = Person("u", "cell", "", "Background", "")
    import_folder(*folders(tmp_path), tmp_path / "out", ask=person)
    assert classes(tmp_path / "out") == {"background": 0, "cell": 1, "structure2": 2, "ignore": 3}
    assert "Value 0, 88.00% of the voxels, in 3 of 3 cases" in person.questions[0]
    assert "out_contact_sheet.png" in person.questions[0]
    assert "--classes cell=1,structure2=2 --background 3 --unlabelled 0" in person.questions[-1]
    assert not (tmp_path / "out_contact_sheet.png").exists()  # it lies in the data set now


def test_what_is_told_and_what_is_answered_are_numbered_by_value(tmp_path):
    person = Person("u", "cell", "background", "")
    import_folder(*folders(tmp_path), tmp_path / "out", classes={"nucleus": 2}, ask=person)
    assert classes(tmp_path / "out") == {"background": 0, "cell": 1, "nucleus": 2, "ignore": 3}


def test_what_is_told_is_not_asked(tmp_path):
    person = Person("u", "")
    import_folder(*folders(tmp_path), tmp_path / "out", classes=CLASSES, background=3, ask=person)
    assert len(person.questions) == 2 and "Value 0" in person.questions[0]
    import_folder(*folders(tmp_path), tmp_path / "all", classes=CLASSES, background=3, unlabelled=0, ask=Person())


def test_an_answer_that_will_not_do_is_asked_again(tmp_path):
    person = Person("perhaps", "b", "a,b", "cell", "cell", "nucleus", "unlabelled", "")
    import_folder(*folders(tmp_path), tmp_path / "out", ask=person)
    assert person.questions[1] == "Please answer u or b."
    assert "no name for a structure" in person.questions[3] and "`cell` is value 1 already" in person.questions[5]
    assert classes(tmp_path / "out") == {"background": 0, "cell": 1, "nucleus": 2, "ignore": 3}


def test_no_begins_again(tmp_path):
    person = Person("u", "x", "y", "z", "n", "u", "cell", "nucleus", "background", "")
    import_folder(*folders(tmp_path), tmp_path / "out", ask=person)
    assert set(classes(tmp_path / "out")) == {"background", "cell", "nucleus", "ignore"}


def test_a_full_folder_is_refused_before_the_first_question(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        import_folder(*folders(tmp_path), tmp_path / "out", ask=Person())


def test_away_from_a_terminal_nothing_is_guessed(tmp_path):
    images, labels = folders(tmp_path)
    with pytest.raises(InputError, match=r"--classes: not given.*0: 88.00%, 1: 4.00%.*NAME=V"):
        import_folder(images, labels, tmp_path / "out")
    with pytest.raises(InputError, match="value 0 has no meaning .*expected --unlabelled to say"):
        import_folder(images, labels, tmp_path / "out", classes=CLASSES, background=3)
    with pytest.raises(InputError, match="value 3 has no meaning .*expected --background to say"):
        import_folder(images, labels, tmp_path / "out", classes=CLASSES, unlabelled=0)
    assert not (tmp_path / "out").exists()
