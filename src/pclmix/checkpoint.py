"""Everything a resume needs, in one file: tensors as safetensors, numbers as JSON in its header. No pickle.

The data order and every random draw are functions of (seed, step), so the step number restores them; what is saved
besides is the weights, their average, the optimiser and the method's own state (the memory queue).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pclmix.errors import InputError
from pclmix.files import atomic_path
from pclmix.session import Session

FORMAT = "pclmix-checkpoint-1"


def save_checkpoint(path: Path, session: Session, seconds: float) -> None:
    """Write the state of a session after its finished steps; `seconds` is the training time so far. Atomic."""
    tensors: dict[str, Tensor] = {}
    tensors |= _prefixed("net", session.module.state_dict())
    tensors |= _prefixed("averaged", session.averaged.net.state_dict())
    tensors |= _prefixed("method", session.method.state_dict())
    state = session.optimizer.state_dict()
    numbers: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    meta = {"step": session.step, "seconds": seconds, "groups": state["param_groups"], "numbers": numbers}
    # A tensor may be a view of another (tied weights); safetensors wants each one contiguous and on its own.
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(owned, temporary, metadata={FORMAT: json.dumps(meta)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_checkpoint(path: Path, session: Session) -> tuple[int, float]:
    """Restore a state into a fresh session; returns (finished steps, training seconds so far).

    Raises `InputError` if the file is not a checkpoint of this program or does not fit the network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                found = ", ".join(sorted(metadata)) or "nothing"
                raise InputError(f"{path}: {found[:80]} in its header, expected {FORMAT}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = json.loads(metadata[FORMAT])
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({error})") from None
    try:
        session.module.load_state_dict(_section("net", tensors))
        session.averaged.net.load_state_dict(_section("averaged", tensors))
    except RuntimeError:
        raise InputError(f"{path}: its weights do not fit this network, expected the plan it was made with") from None
    session.method.load_state_dict(_section("method", tensors))
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in _section("optimizer", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    for name, value in meta["numbers"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    session.optimizer.load_state_dict({"state": state, "param_groups": meta["groups"]})
    # The fused optimisers walk through weights and averages side by side in memory, so they must lie alike there.
    for weight, entries in session.optimizer.state.items():
        for name, value in entries.items():
            if value.shape == weight.shape:
                entries[name] = torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)
    return int(meta["step"]), float(meta["seconds"])


def _prefixed(section: str, state: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{section}.{name}": tensor for name, tensor in state.items()}


def _section(section: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = section + "."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
