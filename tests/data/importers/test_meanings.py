"""What values mean is told once, and said again as the options that tell it."""

import pytest

from pclmix.data.importers.meanings import as_told, parse_classes
from pclmix.errors import InputError


def test_values_become_labels_in_the_order_of_the_classes():
    told = as_told(parse_classes("nucleus = 7, cell=2"), unlabelled=0, background=9)
    assert told.classes == {"background": 0, "nucleus": 1, "cell": 2}
    assert told.labels == {7: 1, 2: 2, 9: 0, 0: 3}
    assert [told.of(value) for value in (0, 2, 7, 9, 5)] == ["unlabelled", "cell", "nucleus", "background", None]


def test_the_options_tell_the_same_again():
    told = as_told({"left lung": 1, "b": 2}, unlabelled=0, background=3)
    assert told.flags() == "--classes 'left lung=1,b=2' --background 3 --unlabelled 0"
    assert as_told(parse_classes("left lung=1,b=2"), 0, 3) == told


def test_background_may_be_named_among_the_classes():
    assert as_told({"background": 4, "a": 1}, 0, None).background == 4


@pytest.mark.parametrize("text", ["a", "a=x", "=1", "a=1,a=2", "a=1,a =2", "a=1,b=1", "ignore=0", ""])
def test_what_is_no_list_of_classes(text):
    with pytest.raises(InputError, match=f"^--classes {text}"):
        parse_classes(text)


@pytest.mark.parametrize(("unlabelled", "background"), [(1, 3), (0, 1), (3, 3)])
def test_one_meaning_a_value(unlabelled, background):
    with pytest.raises(InputError, match="has another meaning already"):
        as_told({"a": 1}, unlabelled, background)


def test_background_alone_is_nothing_to_learn():
    with pytest.raises(InputError, match="no class but background"):
        as_told({"background": 0}, 1, None)
