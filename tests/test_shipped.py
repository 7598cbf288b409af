"""The models that come with the package: each loads, is small, and has a card that says what it must."""

import pytest

from pclmix import shipped
from pclmix.model_file import load_model

SECTIONS = ("Data", "Licence", "Intended use", "Figures", "Known failures", "How it was made")


@pytest.mark.parametrize("name", shipped.shipped_names())
def test_a_shipped_model_loads_by_its_name(name):
    net, plan = load_model(name)
    assert plan.classes["background"] == 0 and not net.training
    assert shipped.shipped_file(name).stat().st_size <= 40e6


@pytest.mark.parametrize("name", shipped.shipped_names())
def test_its_card_says_what_it_is_for_and_how_it_was_made(name):
    text = shipped.card(name)
    assert [section for section in SECTIONS if f"\n## {section}\n" not in text] == []
    assert "pclmix train" in text and "clinical" in text and shipped.summary(name)


def test_an_unknown_name_is_no_model_and_a_path_goes_before_a_name(tmp_path, monkeypatch):
    assert shipped.shipped_file("nothing") is None
    monkeypatch.chdir(tmp_path)
    for name in shipped.shipped_names():
        (tmp_path / name).mkdir()
        with pytest.raises(Exception, match="no model.safetensors in it"):
            load_model(name)
