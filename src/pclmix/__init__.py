"""PCLMix: medical image segmentation learnt from scribbles (arXiv 2405.06288)."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pclmix.api import Model as Model
    from pclmix.api import load as load
    from pclmix.api import train as train
else:

    def __getattr__(name: str) -> Any:
        """`pclmix.load`, `pclmix.Model` and `pclmix.train`, imported when they are first used: torch takes seconds."""
        from importlib import import_module

        if name in ("load", "Model"):
            return getattr(import_module("pclmix.api"), name)
        if name == "train":
            # The module of that name, which can be called: its import would replace a function in this place.
            return import_module("pclmix.train")
        raise AttributeError(f"module 'pclmix' has no attribute {name!r}")
