"""What stands behind a number: commit, versions, machine."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pclmix

PACKAGES = ("torch", "monai", "lightning-fabric", "numpy", "scipy", "nibabel", "scikit-image")


def provenance() -> dict[str, Any]:
    """Commit (and whether files differ from it), versions and hardware, as JSON has them."""
    import torch

    source = Path(pclmix.__file__).parent
    commit = _git(source, "rev-parse", "HEAD")
    return {
        "commit": commit or "unknown",
        "dirty": bool(commit and _git(source, "status", "--porcelain", "--untracked-files=no", "--", ".")),
        "version": pclmix.__version__,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def _git(folder: Path, *arguments: str) -> str:
    """What git says, nothing where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_name() -> str:
    """The processor, as the system calls it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
