"""The page on adding a method is true: its file, registry line and test class are executed as they stand there."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from pclmix.compare import registry
from pclmix.config import make_settings
from pclmix.train import train

PAGE = Path(__file__).parents[1] / "docs" / "adding_a_method.md"


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The method's module and its test class, registered as the page says."""
    method, line, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "smooth.py").write_text(method)
    (tmp_path / "test_smooth.py").write_text(test)
    monkeypatch.setitem(sys.modules, "pclmix.compare.smooth", None)
    load("pclmix.compare.smooth", tmp_path / "smooth.py")
    names: dict = {}
    exec(line, names)
    for name, made in names["METHODS"].items():
        monkeypatch.setitem(registry.METHODS, name, made)
    return load("page_test_smooth", tmp_path / "test_smooth.py").TestSmooth


def test_the_pages_test_class_passes(page):
    tests = [name for name in dir(page) if name.startswith("test_")]
    assert len(tests) >= 10
    for name in tests:
        function = getattr(page(), name)
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        if not marks:
            function()
        for mark in marks:
            names = [part.strip() for part in mark.args[0].split(",")]
            for values in mark.args[1]:
                function(**dict(zip(names, values if len(names) > 1 else [values], strict=True)))


def test_the_pages_method_trains(page, phantom, tmp_path):
    tiny = ("planner.pixels=1024", "planner.batch=2", "planner.depth=4", "train.statistics_batches=1")
    settings = make_settings("cpu", (*tiny, "train.validations=1", "method.weight=0.3"))
    result = train(phantom, tmp_path / "run", settings=settings, method="smooth", steps=2)
    assert result.steps == 2 and (tmp_path / "run" / "model.safetensors").exists()
    assert "weight = 0.3" in (tmp_path / "run" / "settings.toml").read_text()
