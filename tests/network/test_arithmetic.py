"""bf16 or fp32: what the processor says it knows, and what the clock says of it."""

import pytest
import torch

from pclmix.network import arithmetic

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def timed_anew():
    arithmetic._bf16_pays.cache_clear()
    yield
    arithmetic._bf16_pays.cache_clear()


def processor(monkeypatch, features, bf16, fp32):
    """A processor with these features and seconds of a product; returns the list of what was timed."""
    timed = []
    seconds = {torch.bfloat16: bf16, torch.float32: fp32}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(features, True))
    monkeypatch.setattr(arithmetic, "product_seconds", lambda dtype: timed.append(dtype) or seconds[dtype])
    return timed


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
@pytest.mark.parametrize(
    ("bf16", "fp32", "expected"), [(1.0, 2.2, torch.bfloat16), (1.8, 1.0, torch.float32), (1.0, 1.1, torch.float32)]
)
def test_a_processor_that_knows_bf16_uses_it_where_it_is_quicker(monkeypatch, feature, bf16, fp32, expected):
    timed = processor(monkeypatch, [feature], bf16, fp32)
    assert arithmetic.native_dtype(CPU) is expected
    assert arithmetic.native_dtype(CPU) is expected
    assert sorted(map(str, timed)) == ["torch.bfloat16", "torch.float32"]  # once a process


def test_one_that_does_not_is_not_timed(monkeypatch):
    timed = processor(monkeypatch, ["avx2"], bf16=1.0, fp32=9.0)
    assert arithmetic.native_dtype(CPU) is torch.float32
    assert timed == []


def test_the_clock_runs():
    assert 0 < arithmetic.product_seconds(torch.float32, side=64) < 10
