"""Bundles are run as users do, in a process without pclmix."""

import subprocess
import sys

import nibabel as nib
import numpy as np

RUN = """
import sys
for name in ("pclmix", "scipy", "skimage"):
    sys.modules[name] = None
from monai.bundle import run
root, images, labels = sys.argv[1:]
run(config_file=root + "/configs/inference.json", bundle_root=root, dataset_dir=images, output_dir=labels)
"""


def run_bundle(root, images, labels):
    """What `python -m monai.bundle run` does, without the command-line reader it needs."""
    made = [sys.executable, "-c", RUN, str(root), str(images), str(labels)]
    return subprocess.run(made, capture_output=True, text=True, timeout=300)


def require_same(found, expected):
    """Label files of the same names, voxels and headers."""
    names = [sorted(path.name for path in folder.glob("*.nii.gz")) for folder in (found, expected)]
    assert names[0] == names[1]
    for path in expected.glob("*.nii.gz"):
        ours, theirs = nib.load(path), nib.load(found / path.name)
        np.testing.assert_array_equal(np.asarray(theirs.dataobj), np.asarray(ours.dataobj))
        assert ours.header == theirs.header
