"""The cache of 160 cases, against reading the same files once with nibabel."""

import shutil

import nibabel as nib
import numpy as np

from benchmarks import material
from benchmarks.timing import Row, compare
from pclmix.config import make_settings
from pclmix.data.cache import build_cache, cache_folder
from pclmix.data.fingerprint import fingerprint
from pclmix.data.folder import Dataset, read_dataset
from pclmix.data.plan import make_plan

TARGET = 3


def bench(runs: int, quick: bool) -> list[Row]:
    """Images and scribbles; every run fills an empty cache. Then with the fingerprint, which reads them once more."""
    root = material.acdc_like(material.folder(), 4 if quick else 160)
    dataset, settings = read_dataset(root), make_settings("cpu")
    plan = make_plan(fingerprint(dataset, dataset.cases, settings.planner), dataset, settings)

    def cache() -> None:
        shutil.rmtree(cache_folder(), ignore_errors=True)  # counted, but it takes next to nothing
        build_cache(dataset, dataset.cases, plan)

    def whole() -> None:
        fingerprint(dataset, dataset.cases, settings.planner)
        cache()

    what, baseline = f"{len(dataset.cases)} volumes and scribbles", "one read with nibabel"
    rows = {"preprocessing": cache, "preprocessing and fingerprint": whole}
    return [
        Row(name, what, baseline, *compare(ours, lambda: _read(dataset), runs), TARGET) for name, ours in rows.items()
    ]


def _read(dataset: Dataset) -> None:
    for case in dataset.cases:
        for path in (*case.images, case.label):
            np.asarray(nib.load(path).dataobj)
