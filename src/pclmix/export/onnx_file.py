"""The inference network as an ONNX file: image in, probabilities out, the plan in its metadata."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

import pclmix
from pclmix.config import Plan, tree_to_toml
from pclmix.errors import InputError
from pclmix.export.portable import portable, require_agreement, unwarned
from pclmix.files import atomic_path, claim_file
from pclmix.model_file import load_model
from pclmix.network.dual import SegmentationNet

INPUT, OUTPUT = "image", "probabilities"
PLAN_KEY = "pclmix_plan"
"""Metadata entry that holds the plan, TOML."""
AVERAGED_KEY = "pclmix_averaged"
"""Metadata entry that says that the file itself averages over the copies that the plan asks for: "true"."""
OPSET = 18


def write_onnx(model: str | Path, out: Path, *, overwrite: bool = False) -> Path:
    """Write a model to one ONNX file, checked in onnxruntime before it gets its name.

    Input `image`: (batch, channel, height, width), float32, any size, preprocessed as the plan says (docs/deploy.md).
    Output `probabilities`: (batch, class, height, width), float32, averaged over the copies that the plan asks for.
    Raises `InputError` if there is no such model, the file exists, a library is missing, or the file does not give what
    PyTorch gives.
    """
    out = Path(out)
    _require_libraries()
    if out.suffix != ".onnx":
        raise InputError(f"{out}: found {out.suffix or 'no suffix'}, expected a name that ends in .onnx")
    claim_file(out, overwrite=overwrite)
    net, plan = load_model(model)
    with atomic_path(out) as temporary:
        _export(net, plan, temporary)
        require_agreement(net, plan, _in_onnxruntime(temporary), str(out))
    return out


def _require_libraries() -> None:
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise InputError(f"{name}: not installed, expected it for export: pip install 'pclmix[export]'")


def _export(net: SegmentationNet, plan: Plan, path: Path) -> None:
    import onnx

    free = {0: "batch", 2: "height", 3: "width"}
    example = torch.zeros(2, len(plan.channels), 33, 50)
    with unwarned():
        torch.onnx.export(
            portable(net, plan),
            (example,),
            path,
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
            opset_version=OPSET,
        )
    proto = onnx.load(path)
    proto.producer_name, proto.producer_version = "pclmix", pclmix.__version__
    onnx.helper.set_model_props(proto, {PLAN_KEY: tree_to_toml(plan), AVERAGED_KEY: "true"})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _in_onnxruntime(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])
