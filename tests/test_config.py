"""Settings: presets, overrides, TOML round trips, and one line for what makes no sense."""

import pytest

from pclmix.config import PCLMixSettings, Plan, Settings, load_tree, make_settings, paper_deviations, save_tree
from pclmix.errors import InputError
from pclmix.presets import PRESETS

PLAN = {
    "channels": ("MR",),
    "classes": {"background": 0, "LV": 2, "RV": 1},
    "spacing": (1.5, 1.5),
    "crop": (64, 64),
    "batch": 2,
    "intensity": ("zscore",),
}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_go_to_toml_and_back(tmp_path, preset):
    settings = make_settings(preset)
    save_tree(settings, tmp_path / "settings.toml")
    assert load_tree(Settings, tmp_path / "settings.toml") == settings
    assert settings.preset == preset


def test_the_paper_preset_is_the_published_setting():
    paper = make_settings("paper")
    method, optimizer = PCLMixSettings(), paper.optimizer
    assert paper.method == {}
    assert (method.auxiliary, method.contrastive, method.consistent) == (0.4, 0.1, 1.0)
    assert (method.temperature, method.queue, method.anchors, method.anchors_per_class) == (0.07, 500, 1024, 100)
    assert (method.box_area, method.contrast_warmup) == (0.2, 1 / 60)
    assert (method.absence, method.sparing, method.own_labels) == (1.0, False, 1.0)  # ours; absence needs its rules
    assert (optimizer.name, optimizer.rate, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.03, 0.9, 1e-4)
    assert (optimizer.power, optimizer.warmup, optimizer.clip_norm) == (0.9, 0.0, 0.0)
    assert (paper.network.encoder, paper.network.swin_width, paper.network.window) == ("resnet50", 96, 7)
    assert (paper.network.embedding, paper.planner.crop, paper.planner.batch) == (256, (224, 224), 12)
    assert (paper.train.steps, paper.augment.right_angles, paper.augment.rotation) == (60_000, True, 20.0)


def test_overrides_are_parsed_by_their_type():
    settings = make_settings(
        "cpu", ("optimizer.rate=0.01", "method.mix=false", "network.weights=my file.pth", "planner.crop = 192")
    )
    assert settings.optimizer.rate == 0.01 and settings.method["mix"] is False
    assert settings.network.weights == "my file.pth" and settings.planner.crop == (192, 192)
    assert settings.planner.batch == make_settings("cpu").planner.batch


@pytest.mark.parametrize(
    "preset, override, found",
    [
        ("fast", (), "unknown preset, expected one of cpu, gpu, paper"),
        ("cpu", ("rate=1",), "expected section.name=value"),
        ("cpu", ("optimizer.rate",), "expected section.name=value"),
        ("cpu", ("optimizer.speed=1",), "optimizer.speed: unknown, expected one of clip_norm"),
        ("cpu", ("engine.speed=1",), "engine: unknown, expected one of augment"),
        ("cpu", ("optimizer.rat=1",), "optimizer.rat: unknown, did you mean rate"),
        ("cpu", ("optimizer.rate=-1",), r"optimizer.rate: .*greater than 0 \(found -1\)"),
        ("cpu", ("optimizer.rate=nan",), "optimizer.rate"),
        ("cpu", ("optimizer.name=lion",), "optimizer.name"),
    ],
)
def test_settings_that_make_no_sense(preset, override, found):
    with pytest.raises(InputError, match=found):
        make_settings(preset, override)


def test_settings_do_not_change_once_made():
    with pytest.raises(ValueError, match="frozen"):
        make_settings("cpu").optimizer.rate = 1.0


def test_class_names_follow_the_label_values():
    assert Plan(**PLAN).class_names == ("background", "RV", "LV")


@pytest.mark.parametrize(
    "change, found",
    [
        ({"classes": {"background": 0, "LV": 2}}, "consecutive"),
        ({"classes": {"background": 0}}, "consecutive"),
        ({"intensity": ("zscore", "zscore")}, "one a channel"),
        ({"intensity": ("ct",)}, "needs clip and statistics"),
        ({"speed": 3}, "Extra inputs"),
    ],
)
def test_plans_that_make_no_sense(tmp_path, change, found):
    with pytest.raises(ValueError, match=found):
        Plan(**(PLAN | change))


@pytest.mark.parametrize(
    "text, found",
    [("version = ", "not TOML"), ("version = 7", "plan version 7, expected 1"), ("version = 1", "channels: Field req")],
)
def test_a_malformed_plan_names_its_file(tmp_path, text, found):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=found) as error:
        load_tree(Plan, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot read"):
        load_tree(Plan, tmp_path / "nothing.toml")


def test_paper_names_each_deviation():
    plain = paper_deviations(make_settings("paper"))
    assert any("random initialisation" in line for line in plain)
    given = paper_deviations(make_settings("paper", ("network.weights=r50.pth", "method.auxiliary=0.2")))
    assert not any("random initialisation" in line for line in given)
    assert set(given) - set(plain) == {"method.auxiliary is 0.2, not 0.4"}


def test_a_plan_from_before_there_were_turned_copies_asks_for_none(tmp_path):
    plan = Plan(**(PLAN | {"turn": 20}))
    path = tmp_path / "plan.toml"
    save_tree(plan, path)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("turn")))
    assert load_tree(Plan, path) == plan.model_copy(update={"turn": 0})
