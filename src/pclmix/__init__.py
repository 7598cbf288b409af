"""PCLMix: medical image segmentation learnt from scribbles (arXiv 2405.06288)."""

__version__ = "0.1.0"
