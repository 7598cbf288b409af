"""The model file: a round trip, and everything that is no model of ours."""

import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pclmix.config import Plan, tree_to_toml
from pclmix.errors import InputError
from pclmix.model_file import FORMAT, MODEL_NAME, load_model, save_model
from pclmix.network.dual import segmentation_net


def make_plan(classes=3, channels=1, **changes):
    return Plan(
        channels=tuple(f"mr{index}" for index in range(channels)),
        classes={name: value for value, name in enumerate(["background", "a", "b", "c", "d"][:classes])},
        spacing=(1.5, 1.25),
        crop=(32, 48),
        batch=2,
        depth=2,
        intensity=("zscore",) * channels,
        largest_component=((1,),),
        **changes,
    )


@pytest.fixture
def model(tmp_path):
    """A run folder with a model of three classes in it, the network, and its plan."""
    plan = make_plan()
    torch.manual_seed(1)
    net = segmentation_net(plan).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    save_model(tmp_path / MODEL_NAME, net, plan)
    return tmp_path, net, plan


def refused(path):
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as error:
        load_model(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and "expected" in message
    return message


def test_weights_in_half_precision_are_loaded_as_fp32(model):
    folder, net, plan = model
    halved = segmentation_net(plan)
    halved.load_state_dict(net.state_dict())
    save_model(folder / "half.safetensors", halved.half(), plan)
    loaded, _ = load_model(folder / "half.safetensors")
    assert all(weight.dtype == torch.float32 for weight in loaded.parameters())
    for ours, theirs in zip(loaded.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())


@pytest.mark.parametrize("kind", ["folder", "file", "text"])
def test_round_trip(model, kind):
    folder, net, plan = model
    name = {"folder": folder, "file": folder / MODEL_NAME, "text": str(folder)}[kind]
    loaded, its_plan = load_model(name)
    assert its_plan == plan
    assert not loaded.training
    image = torch.randn(2, 1, 30, 35)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), net(image))


def test_the_file_holds_the_weights_of_inference_and_the_plan_in_its_header(model):
    folder, net, plan = model
    with safe_open(folder / MODEL_NAME, framework="pt") as file:
        assert set(file.keys()) == set(net.state_dict())
        assert file.metadata() == {FORMAT: tree_to_toml(plan)}
    assert [path.name for path in folder.iterdir()] == [MODEL_NAME]


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    folder, net, plan = model
    for _ in range(8):
        save_model(tmp_path / "again.safetensors", net, plan)
        assert (tmp_path / "again.safetensors").read_bytes() == (folder / MODEL_NAME).read_bytes()


def test_a_training_network_is_saved_as_it_is(tmp_path):
    plan = make_plan()
    net = segmentation_net(plan).train()
    save_model(tmp_path / "m.safetensors", net, plan)
    assert net.training
    assert not load_model(tmp_path / "m.safetensors")[0].training


def test_missing(tmp_path):
    assert "no such model" in refused(tmp_path / "nothing.safetensors")
    assert MODEL_NAME in refused(tmp_path)
    with pytest.raises(InputError, match="no-such-model"):
        load_model("no-such-model")


def never():
    """What a pickle of an attacker would call."""
    raise AssertionError("a pickle was opened")


class Trap:
    """Calls `never` when it is unpickled."""

    def __reduce__(self):
        return never, ()


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    assert "not a safetensors file" in refused(path)
    torch.save({"weight": torch.zeros(2), "trap": Trap()}, path)
    assert "not a safetensors file" in refused(path)
    torch.save({"trap": Trap()}, path, _use_new_zipfile_serialization=False)
    assert "not a safetensors file" in refused(path)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, -1])
def test_cut_short(model, tmp_path, kept):
    whole = (model[0] / MODEL_NAME).read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert "not a safetensors file" in refused(path)


def test_another_program(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert FORMAT in refused(path)
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    assert "format in its header" in refused(path)


@pytest.mark.parametrize("other", [{"classes": 4}, {"channels": 2}])
def test_weights_of_another_count_of_classes_or_channels(model, tmp_path, other):
    path = tmp_path / "m.safetensors"
    save_model(path, model[1], make_plan(**other))
    assert "do not fit" in refused(path)


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_a_weight_missing_or_too_many(model, tmp_path, change):
    _, net, plan = model
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    if change == "missing":
        state.popitem()
    else:
        state["auxiliary.weight"] = torch.zeros(2)
    path = tmp_path / "m.safetensors"
    save_file(state, path, metadata={FORMAT: tree_to_toml(plan)})
    assert "do not fit" in refused(path)


@pytest.mark.parametrize("edit", [("version = 1", "version = 99"), ("spacing", "spaceing"), ("[", "[[")])
def test_a_plan_that_is_none(model, tmp_path, edit):
    _, net, plan = model
    path = tmp_path / "m.safetensors"
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    save_file(state, path, metadata={FORMAT: tree_to_toml(plan).replace(*edit)})
    with pytest.raises(InputError, match="plan") as error:
        load_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
