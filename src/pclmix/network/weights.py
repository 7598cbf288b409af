"""ImageNet weights for the ResNets: from a file the user gives, or by download with its hash checked."""

import hashlib
import os
import urllib.request
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.network.encoder import ResNetEncoder

URLS = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
}
"""torchvision's ImageNet weights; the file name carries the start of the file's SHA-256."""


def load_imagenet(encoder: ResNetEncoder, name: str, source: str) -> None:
    """Fill `encoder` with ImageNet weights from `source`: a file, or "download".

    The first convolution adapts to the channel count: its three filters are repeated over the channels and scaled, so
    that an image repeated over all channels gives the response of a grey image. Raises `InputError`.
    """
    path = _download(URLS[name]) if source == "download" else Path(source)
    state = _read(path)
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    first = state.get("conv1.weight")
    if first is None:
        raise InputError(f"{path}: no conv1.weight, expected torchvision's state dict of {name}")
    channels = encoder.resnet.conv1.in_channels
    if channels != first.shape[1]:
        repeated = first.repeat(1, -(-channels // first.shape[1]), 1, 1)[:, :channels]
        state["conv1.weight"] = repeated * (first.shape[1] / channels)
    try:
        encoder.resnet.load_state_dict(state)
    except RuntimeError:
        raise InputError(f"{path}: does not fit {name}, expected torchvision's state dict of it") from None


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected torchvision's state dict (.pth or .safetensors)")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, ImportError) as error:
        raise InputError(f"{path}: not readable weights ({str(error).splitlines()[0][:80]})") from None
    except Exception as error:  # UnpicklingError: a pickle that would run code is refused, not run
        raise InputError(f"{path}: holds more than weights ({type(error).__name__}), expected a state dict") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: found a {type(state).__name__}, expected a state dict of tensors")
    return state


def _download(url: str) -> Path:
    name = url.rsplit("/", 1)[1]
    folder = Path(os.environ.get("PCLMIX_CACHE") or Path.home() / ".cache" / "pclmix")
    path = folder / name
    wanted = path.stem.rsplit("-", 1)[1]
    if not path.exists():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            raise InputError(f"{url}: cannot download ({error}); give a file: --set network.weights=FILE") from None
        if not hashlib.sha256(content).hexdigest().startswith(wanted):
            raise InputError(f"{url}: its SHA-256 does not start with {wanted}, so the file is not used")
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return path
