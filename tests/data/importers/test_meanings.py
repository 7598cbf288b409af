"""What values mean is told once, and said again as the options that tell it."""

import pytest

from pclmix.data.importers.meanings import as_told, parse_classes
from pclmix.errors import InputError


def test_values_become_labels_in_their_own_order_whatever_was_typed_first():
    told = as_told(parse_classes("nucleus = 7, cell=2"), unlabelled=0, background=9)
    assert told.classes == {"background": 0, "cell": 1, "nucleus": 2}
    assert told.labels == {2: 1, 7: 2, 9: 0, 0: 3}
    assert [told.of(value) for value in (0, 2, 7, 9, 5)] == ["unlabelled", "cell", "nucleus", "background", None]


def test_the_options_tell_the_same_again():
    told = as_told({"left lung": 1, "b": 2}, unlabelled=0, background=3)
    assert told.flags() == "--classes 'left lung=1,b=2' --background 3 --unlabelled 0"
    assert as_told(parse_classes("left lung=1,b=2"), 0, 3) == told


@pytest.mark.parametrize(
    ("classes", "background", "renumbered"),
    [
        ({"core": 2, "ring": 1}, 3, {}),
        ({"core": 5, "ring": 2}, 0, {"ring": (2, 1), "core": (5, 2)}),
        ({"core": 1, "ring": 3}, 2, {"ring": (3, 2)}),
        ({"core": 1}, None, {}),
    ],
)
def test_1_to_k_keep_their_values_and_it_is_known_which_others_change(classes, background, renumbered):
    assert as_told(classes, None, background).renumbered == renumbered


def test_background_may_be_named_among_the_classes():
    assert as_told({"background": 4, "a": 1}, 0, None).background == 4


def test_what_is_no_structure_may_be_named_among_the_classes_and_is_told_as_by_its_option():
    told = as_told(parse_classes("cell=1,Unlabelled=0,BACKGROUND=3"), None, None)
    assert told == as_told({"cell": 1}, unlabelled=0, background=3)
    assert as_told(parse_classes("cell=1,unlabelled=0"), unlabelled=0, background=3) == told


@pytest.mark.parametrize(("name", "options"), [("unlabelled", (0, None)), ("background", (None, 0))])
def test_two_values_for_what_is_no_structure(name, options):
    with pytest.raises(InputError, match=f"^--{name} 0: --classes says {name}=4, expected one value"):
        as_told({"a": 1, name: 4}, *options)


@pytest.mark.parametrize("name", ["ignore", "Ignore"])
def test_ignore_is_refused_with_the_option_that_says_it(name):
    with pytest.raises(InputError, match=f"`{name}` is no structure, expected --unlabelled 4"):
        parse_classes(f"a=1,{name}=4")


@pytest.mark.parametrize("text", ["a", "a=x", "=1", "a=1,a=2", "a=1,a =2", "a=1,b=1", "ignore=0", ""])
def test_what_is_no_list_of_classes(text):
    with pytest.raises(InputError, match=f"^--classes {text}"):
        parse_classes(text)


@pytest.mark.parametrize(("unlabelled", "background"), [(1, 3), (0, 1), (3, 3)])
def test_one_meaning_a_value(unlabelled, background):
    with pytest.raises(InputError, match="has another meaning already"):
        as_told({"a": 1}, unlabelled, background)


@pytest.mark.parametrize("name", ["background", "unlabelled"])
def test_without_a_structure_there_is_nothing_to_learn(name):
    with pytest.raises(InputError, match="no class but background"):
        as_told({name: 0}, None, None)
