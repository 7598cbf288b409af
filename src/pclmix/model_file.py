"""The model file: weights of encoder and main decoder as safetensors, the plan in its header. No pickle, ever."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from pclmix.config import Plan, tree_from_toml, tree_to_toml
from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.network.dual import SegmentationNet, segmentation_net
from pclmix.shipped import shipped_file, shipped_names

FORMAT = "pclmix-model-1"
"""The header's only entry, holding the plan: safetensors writes several in an order that changes from run to run."""
MODEL_NAME = "model.safetensors"


def save_model(path: Path, net: nn.Module, plan: Plan) -> None:
    """Write a `SegmentationNet` and its plan, atomically."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}
    with atomic_path(path) as temporary:
        try:
            save_file(state, temporary, metadata={FORMAT: tree_to_toml(plan)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_model(name: str | Path) -> tuple[SegmentationNet, Plan]:
    """The network in eval mode and its plan, from a run folder, a model file or the name of a shipped model.

    What lies at the path goes before a shipped model of that name. Raises `InputError` for a missing file, one of
    another program, one with a pickle inside, or one cut short.
    """
    path = Path(name)
    if not path.exists():
        path = shipped_file(str(name)) or path
    if path.is_dir():
        if not (path / MODEL_NAME).is_file():
            raise InputError(f"{path}: no {MODEL_NAME} in it, expected the folder of a finished run")
        path = path / MODEL_NAME
    if not path.is_file():
        names = ", ".join(shipped_names())
        raise InputError(f"{path}: no such model, expected a run folder, a .safetensors file or one of: {names}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a safetensors file ({str(error)[:80]}), expected a model of pclmix") from None
    if FORMAT not in metadata:
        found = ", ".join(sorted(metadata)) or "nothing"
        raise InputError(f"{path}: {found[:80]} in its header, expected {FORMAT} (a model of pclmix)")
    plan = tree_from_toml(Plan, metadata[FORMAT], f"{path} (plan)")
    net = segmentation_net(plan)
    try:
        net.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(f"{path}: its weights do not fit its plan, expected {len(plan.classes)} classes") from None
    return net.eval().to(memory_format=torch.channels_last), plan  # type: ignore[call-overload]
