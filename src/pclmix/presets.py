"""The presets: plain tables of what each sets otherwise than `pclmix.config`, which checks them."""

from typing import Any

_SHAPES = {"flip": False, "rotation": 25.0, "scale": 0.4, "stretch": 0.35, "elastic": 0.035}
_ADAMW = {"name": "adamw", "rate": 2e-3, "weight_decay": 1e-2, "warmup": 0.02, "clip_norm": 5.0}

PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {
        "network": {"encoder": "plain", "swin_width": 32, "embedding": 64, "window": 8},
        "augment": _SHAPES,
        "optimizer": _ADAMW,
        "planner": {"pixels": 96 * 96, "view": 0.75, "batch": 8},
        "train": {"steps": 3000},
    },
    "gpu": {
        "network": {"encoder": "plain", "width": 32, "swin_width": 64, "embedding": 128, "window": 8},
        "augment": {**_SHAPES, "swell": 0.6},
        "optimizer": _ADAMW,
        "planner": {"pixels": 128 * 128, "view": 0.75, "batch": 16},
        "train": {"steps": 15_000},
    },
    "paper": {
        "network": {"encoder": "resnet50", "swin_width": 96},
        "optimizer": {"name": "sgd", "rate": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        "augment": {
            "right_angles": True, "rotation": 20.0, "scale": 0.0, "gamma": 0.0, "contrast": 0.0,
            "brightness": 0.0, "noise": 0.0, "blur": 0.0,
        },
        "planner": {"crop": 224, "batch": 12, "strokes": "partial", "rings": "off"},
        "train": {"steps": 60_000, "validations": 20, "unlabelled": 0.0},
    },
}  # fmt: skip

METHOD_PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("cpu", "pclmix"): {"sparing": True, "own_labels": 0.6},
    ("gpu", "pclmix"): {"sparing": True, "own_labels": 0.6},
}
"""What a preset sets of a method's own table, by (preset, method)."""

PAPER_DEVIATIONS = (
    "images are resampled to the plan's pixel size and cropped to 224 x 224, not squeezed to it by nearest neighbour",
    "the result is the averaged weights of the last step, not the best of the test patients",
    "batch-norm statistics are estimated again on unmixed images before a model is used",
    "position parameters are trained and saved; both decoders share one pass; empty slots of the queue take no part",
)
"""What preset paper does otherwise than the published experiment, whatever the settings."""
