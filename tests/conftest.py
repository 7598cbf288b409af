"""Fixtures that every test shares."""

import gzip
import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data (acdc, acdc_h5, mscmr); the test is skipped where it is absent."""
    root = Path(os.environ.get("PCLMIX_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "acdc").is_dir():
        pytest.skip(f"no real data at {root} (set PCLMIX_REAL_DATA)")
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests out of the user's preprocessing cache."""
    monkeypatch.setenv("PCLMIX_CACHE", str(tmp_path_factory.getbasetemp() / "pclmix-cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors are quicker on one thread, and sums come out in one order."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of four synthetic hearts of two patients; not to be changed by a test."""
    from pclmix.data.phantom import make_phantom

    return make_phantom(tmp_path_factory.mktemp("phantom") / "dataset", cases=4, seed=3)


@pytest.fixture(scope="session")
def unpacked(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data set in files that are not compressed; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("unpacked")
    for path in phantom.glob("*/*.nii.gz"):
        (folder / path.parent.name).mkdir(exist_ok=True)
        (folder / path.parent.name / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    meta = json.loads((phantom / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(meta | {"file_ending": ".nii"}))
    return folder
