"""`pclmix predict` on 40 volumes, against the network's own time on their slices."""

import itertools
import statistics
import subprocess
import sys

import torch

from benchmarks import material
from benchmarks.models import model_file, plan_of
from benchmarks.timing import Row, compare
from pclmix.data.resample import preprocess_image
from pclmix.data.volume import nifti_files, read_image
from pclmix.infer import PredictOptions, predict_files, predict_slices
from pclmix.model_file import load_model
from pclmix.network.fast import for_inference


def bench(runs: int, quick: bool) -> list[Row]:
    """Reading, resampling, post-processing and writing come on top of the network, which is that of preset cpu: the
    quicker it is, the more they count. Imports are apart, in the note."""
    images = material.acdc_like(material.folder(), 2 if quick else 40) / "imagesTr"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # as predict_files chooses it
    plan = plan_of("cpu", (128, 112))
    model = model_file(material.folder(), plan)
    net = for_inference(load_model(model)[0], device)
    slices = [preprocess_image([read_image(path)], plan) for path in nifti_files(images)]
    outputs = (material.folder() for _ in itertools.count())

    def network() -> None:
        for one in slices:
            predict_slices(net, one, device, plan)

    def ours() -> None:
        for _ in predict_files(model, [images], next(outputs), PredictOptions()):
            pass

    times = compare(ours, network, runs)
    whole, alone = (_imports(module, runs) for module in ("pclmix.infer", "torch"))
    note = f"imports apart: {whole:.2f} s, of which torch {alone:.2f} s"
    return [Row("predict", f"{len(slices)} volumes", "the network on their slices", *times, target=1.5, note=note)]


def _imports(module: str, runs: int) -> float:
    """Seconds that an import takes in a fresh process, median."""
    command = [
        sys.executable,
        "-c",
        f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)",
    ]
    return statistics.median(float(subprocess.check_output(command)) for _ in range(runs))
