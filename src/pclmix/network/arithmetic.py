"""Which arithmetic is quick on a device. Exported bundles get a copy of this file, so it knows PyTorch alone."""

import functools
import time

import torch

PAYS = 1.25
"""How much faster bf16 has to multiply than fp32: copies between the two cost something as well."""


def native_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device multiplies it faster than fp32, else fp32; what `pclmix predict` computes in."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        features = torch.cpu.get_capabilities()
        native = bool(features.get("avx512_bf16") or features.get("amx_bf16")) and _bf16_pays()
    return torch.bfloat16 if native else torch.float32


@functools.cache
def _bf16_pays() -> bool:
    """By the clock, once a process: that a CPU knows bf16 does not say that it is quick at it. Zen 4 multiplies it 2.2
    times as fast as fp32, an Emerald Rapids whose AMX a virtual machine hides .55 times."""
    return product_seconds(torch.float32) > PAYS * product_seconds(torch.bfloat16)


def product_seconds(dtype: torch.dtype, side: int = 768, runs: int = 3) -> float:
    """Seconds of the quickest of some products of two square matrices on the CPU."""
    matrix = torch.ones(side, side, dtype=dtype)
    torch.mm(matrix, matrix)  # the first one prepares
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - start)
    return min(times)
