"""A small model of two channels, an MR and a CT, and volumes that put its plan to the test."""

import nibabel as nib
import numpy as np
import pytest
import torch

from pclmix.config import Plan
from pclmix.model_file import save_model
from pclmix.network.dual import segmentation_net


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Two decoder levels, pixels of 1.4 x 1.1 mm, mirrored and turned copies, and pieces to keep."""
    return Plan(
        channels=("MR", "CT"),
        classes={"background": 0, "a": 1, "b": 2},
        spacing=(1.4, 1.1),
        crop=(32, 32),
        batch=2,
        depth=3,
        intensity=("zscore", "ct"),
        clip=((0, 0), (-100, 120)),
        statistics=((0, 1), (10, 60)),
        turn=20,
        largest_component=((1, 2), 2),
    )


@pytest.fixture(scope="session")
def model(plan, tmp_path_factory):
    """The model file: untrained weights, batch-norm statistics that are not those of a new network."""
    torch.manual_seed(3)
    net = segmentation_net(plan)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, net, plan)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of cases of two channels: coarser and finer than the plan, of another slice axis, of a single slice,
    with a header in micrometres.

    As in ACDC the sform has unit scale; pixdim alone is right.
    """
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    cases = {
        "coarse": ((19, 26, 4), (2.1, 1.9, 8.0)),
        "fine": ((41, 30, 3), (0.7, 1.0, 6.0)),
        "across": ((3, 22, 25), (7.0, 1.4, 1.1)),
        "single": ((24, 21, 1), (1.5, 1.2, 1.0)),
        "micron": ((23, 20, 2), (1900.0, 900.0, 7000.0)),
    }
    for name, (shape, spacing) in cases.items():
        for channel in range(2):
            noise = random.normal(size=shape)
            smooth = sum(np.roll(noise, step, axis) for axis in range(3) for step in (-1, 0, 1))
            image = nib.Nifti1Image((60 * smooth).astype(np.int16), None)
            image.header.set_zooms(spacing)
            image.set_sform(np.eye(4), 1)
            image.header.set_xyzt_units("micron" if name == "micron" else "unknown")
            nib.save(image, folder / f"{name}_{channel:04d}.nii.gz")
    return folder


@pytest.fixture
def in_fp32(monkeypatch):
    """`pclmix predict` in fp32 whatever the processor, as an ONNX file computes."""
    monkeypatch.setattr("pclmix.network.fast.native_dtype", lambda device: torch.float32)
