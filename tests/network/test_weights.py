"""ImageNet weights: torchvision's names fit, the first layer adapts, and nothing but weights is read."""

import hashlib
import io
import pickle
import urllib.request
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from pclmix.errors import InputError
from pclmix.network import weights
from pclmix.network.encoder import ResNetEncoder
from pclmix.network.weights import load_imagenet


def imagenet(name, seed=0):
    """A state dict like torchvision's file: of three channels, with the head."""
    torch.manual_seed(seed)
    state = {key: torch.randn_like(value) if value.is_floating_point() else value + 3
             for key, value in ResNetEncoder(name, 3).resnet.state_dict().items()}  # fmt: skip
    width = {"resnet18": 512, "resnet50": 2048}[name]
    return state | {"fc.weight": torch.zeros(1000, width), "fc.bias": torch.zeros(1000)}


def test_the_names_are_torchvisions():
    """Keys and shapes, as torchvision's published files have them (checked against its model definition)."""
    state = ResNetEncoder("resnet50", 3).resnet.state_dict()
    expected = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.num_batches_tracked": (),
        "layer2.3.conv2.weight": (128, 128, 3, 3),
        "layer3.5.bn3.bias": (1024,),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected
    blocks = {name.rsplit(".", 2)[0] for name in state if name.startswith("layer") and name.count(".") == 3}
    assert len(blocks) == 3 + 4 + 6 + 3
    assert not [name for name in state if name.endswith("downsample.0.bias") or name.startswith("fc.")]


def test_the_stride_is_in_the_second_convolution_of_a_bottleneck():
    """Where torchvision has it ("v1.5"); in the first one the same weights would compute something else."""
    block = ResNetEncoder("resnet50", 3).resnet.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_fills_the_encoder(tmp_path, ending):
    state = imagenet("resnet18")
    path = tmp_path / f"resnet18{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    encoder = ResNetEncoder("resnet18", 3)
    load_imagenet(encoder, "resnet18", str(path))
    for name, value in encoder.resnet.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_the_first_convolution_adapts_to_the_channels(tmp_path, channels):
    state = imagenet("resnet18")
    # A grey photograph has three equal channels; the response to it must not depend on how many there are here.
    state["conv1.weight"] = state["conv1.weight"][:, :1].expand(-1, 3, -1, -1).clone()
    torch.save(state, tmp_path / "w.pth")
    few, three = ResNetEncoder("resnet18", channels), ResNetEncoder("resnet18", 3)
    load_imagenet(few, "resnet18", str(tmp_path / "w.pth"))
    load_imagenet(three, "resnet18", str(tmp_path / "w.pth"))
    grey = torch.randn(1, 1, 32, 32)
    response = few.resnet.conv1(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(response, three.resnet.conv1(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-3)


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize(
    "content, found",
    [
        (lambda path: path.write_bytes(pickle.dumps(Trap(), protocol=2)), "expected a state dict|not readable"),
        (lambda path: torch.save({"conv1.weight": Trap()}, path), "more than weights"),
        (lambda path: torch.save([1, 2], path), "found a list"),
        (lambda path: torch.save({"weight": torch.zeros(2)}, path), "no conv1.weight"),
        (lambda path: torch.save(imagenet("resnet50"), path), "does not fit resnet18"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "not readable"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, found):
    path = tmp_path / "w.pth"
    content(path)
    with pytest.raises(InputError, match=found) as error:
        load_imagenet(ResNetEncoder("resnet18", 3), "resnet18", str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_download_is_checked_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path / "cache"))
    state = imagenet("resnet18")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    served = []

    def answer(url, timeout):
        served.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    encoder = ResNetEncoder("resnet18", 3)
    with pytest.raises(InputError, match="SHA-256"):
        load_imagenet(encoder, "resnet18", "download")
    assert not list((tmp_path / "cache").glob("*"))
    digest = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setitem(weights.URLS, "resnet18", f"https://example.org/resnet18-{digest}.pth")
    for _ in range(2):
        load_imagenet(encoder, "resnet18", "download")
    assert len(served) == 2, "the second load comes from the cache"
    torch.testing.assert_close(encoder.resnet.conv1.weight.detach(), state["conv1.weight"])


def test_without_a_network_the_user_is_told_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path))

    def unreachable(url, timeout):
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(InputError, match="network.weights=FILE"):
        load_imagenet(ResNetEncoder("resnet18", 3), "resnet18", "download")
