from pathlib import Path

import pytest

from pclmix.compare.registry import METHODS, get_method
from pclmix.config import make_settings
from pclmix.errors import InputError


def test_every_method_has_its_test_file():
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert set(METHODS) <= files


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(InputError, match="did you mean pclmix"):
        get_method("pclmx")


@pytest.mark.parametrize(
    "override, found",
    [
        ("method.mixx=false", "settings of method pclmix: mixx: unknown, did you mean mix"),
        ("method.mix=perhaps", r"pclmix: mix: .*boolean.*\(found 'perhaps'\)"),
    ],
)
def test_a_methods_own_settings_are_checked_by_its_class(override, found):
    with pytest.raises(InputError, match=found):
        get_method("pclmix").configured(make_settings("cpu", (override,)))


def test_a_methods_own_settings_are_saved_complete():
    settings = get_method("pclmix").configured(make_settings("cpu", ("method.sparing=false", "method.mix=false")))
    assert settings.method["mix"] is False and settings.method["queue"] == 500
