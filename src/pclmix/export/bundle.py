"""A model as a MONAI bundle, which runs where pclmix is not installed: configuration, network, scripts and a card."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import pclmix
from pclmix.config import Plan
from pclmix.export.portable import portable, require_agreement, unwarned
from pclmix.files import atomic_path, claim_folder
from pclmix.model_file import load_model
from pclmix.network import arithmetic, copies

SCRIPTS = Path(__file__).parent / "bundle_scripts"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""What MONAI's own check of metadata.json goes by."""


def write_bundle(model: str | Path, out: Path, *, overwrite: bool = False) -> Path:
    """Write a model to the folder `out` as a bundle, its network checked before it gets its name.

    `python -m monai.bundle run --config_file OUT/configs/inference.json --bundle_root OUT --dataset_dir IMAGES
    --output_dir LABELS` then gives the labels that `pclmix predict` gives. Raises `InputError` if there is no such
    model, the folder is not empty, or the TorchScript network does not give what PyTorch gives.
    """
    net, plan = load_model(model)
    out = claim_folder(out, overwrite=overwrite)
    one_pass = plan.model_copy(update={"mirror": False, "turn": 0.0})  # the inferer averages, whatever the precision
    network = portable(net, one_pass)
    with atomic_path(out / "models" / "model.ts") as temporary:
        network.save(str(temporary))
        with unwarned():
            written = torch.jit.load(str(temporary))
        require_agreement(net, one_pass, written, str(out / "models" / "model.ts"))
    for source in (*sorted(SCRIPTS.glob("*.py")), Path(arithmetic.__file__), Path(copies.__file__)):
        _write(out / "scripts" / source.name, partial(shutil.copyfile, source))
    texts = {
        "docs/README.md": _card(plan),
        "configs/metadata.json": json.dumps(_metadata(plan), indent=2),
        "configs/inference.json": json.dumps(_inference(plan), indent=2),
    }
    for name, text in texts.items():  # what is run comes last, so that a bundle that has it is whole
        _write(out / name, partial(_put_text, text))
    return out


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    with atomic_path(path) as temporary:
        write(temporary)


def _put_text(text: str, path: Path) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _inference(plan: Plan) -> dict[str, Any]:
    """configs/inference.json; a value that begins with $ is Python, @ refers to another entry."""
    ours = "scripts.segmentation"
    return {
        "imports": [f"$import scripts.{name} as {name}" for name in ("arithmetic", "copies", "segmentation")],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/labels'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "dtype": "$arithmetic.native_dtype(@device)",
        "dataset": f"$segmentation.find_cases(@dataset_dir, {len(plan.channels)})",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts').to(@device, @dtype).eval()",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader", "ensure_channel_first": True},
                {
                    "_target_": f"{ours}.ImageToSlices",
                    **plan.model_dump(
                        mode="json", include={"spacing", "slice_axis", "intensity", "clip", "statistics"}
                    ),
                },
            ],
        },
        "inferer": {
            "_target_": f"{ours}.AveragingInferer",
            "over_copies": "$copies.over_copies",
            "mirror": plan.mirror,
            "turn": plan.turn,
            "device": "@device",
            "dtype": "@dtype",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": f"{ours}.ProbabilitiesToLabels", "largest_component": plan.largest_component},
                {"_target_": f"{ours}.SaveLabels", "output_dir": "@output_dir"},
            ],
        },
        "run": ["$segmentation.segment(@dataset, @preprocessing, @inferer, @network_def, @postprocessing)"],
    }


def _metadata(plan: Plan) -> dict[str, Any]:
    """configs/metadata.json, as MONAI's schema wants it."""
    shape = {"spatial_shape": ["*", "*"], "dtype": "float32", "is_patch_data": False, "type": "image"}
    channels = {str(index): name for index, name in enumerate(plan.channels)}
    classes = {str(index): name for index, name in enumerate(plan.class_names)}
    return {
        "schema": SCHEMA,
        "version": pclmix.__version__,
        "changelog": {pclmix.__version__: "exported by pclmix"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"nibabel": version("nibabel")},
        "name": "pclmix",
        "task": f"Segmentation of {', '.join(plan.class_names[1:])}",
        "description": "A network learnt from scribbles with PCLMix, run slice by slice on 3-D images.",
        "authors": "see the training run",
        "copyright": "see the training data",
        "network_data_format": {
            "inputs": {
                "image": {
                    **shape,
                    "format": "magnitude",
                    "modality": ", ".join(plan.channels),
                    "num_channels": len(plan.channels),
                    "value_range": [],
                    "channel_def": channels,
                }
            },
            "outputs": {
                "probabilities": {
                    **shape,
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": len(plan.classes),
                    "value_range": [0, 1],
                    "channel_def": classes,
                }
            },
        },
    }


def _card(plan: Plan) -> str:
    """docs/README.md."""
    classes = ", ".join(f"{label} {name}" for label, name in enumerate(plan.class_names))
    return f"""# Segmentation of {", ".join(plan.class_names[1:])}

A network learnt from scribbles with PCLMix (arXiv 2405.06288), exported by pclmix {pclmix.__version__}.
It needs MONAI with fire (`pip install "monai[fire]" nibabel`) and no pclmix:

```
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --bundle_root BUNDLE \\
    --dataset_dir IMAGES --output_dir LABELS
```

IMAGES holds NIfTI files, CASE.nii.gz or a file a channel, CASE_0000.nii.gz and so on.
Channels in order: {", ".join(plan.channels)}.
LABELS/CASE.nii.gz has the grid and header of its image. Its values: {classes}.

The labels are those of `pclmix predict` on the same machine. Both compute in bfloat16 where the processor does so
natively; `--dtype '$torch.float32'` turns that off here. The spacing is read from pixdim, as the affine is wrong in
some public data.

Not for clinical decisions.
"""
