"""What a run takes of a GPU, told by a GPU that is made up: 16,000 MB, 2,500 of them not free."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.training.memory import is_out_of_memory, limit_memory, memory_costs

MB = 1_000_000


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shares that the allocator was held to."""
    held: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (13_500 * MB, 16_000 * MB))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 2_500 * MB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda *_: 3_000 * MB)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 2_000 * MB)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", held.append)
    return held


def test_a_gpu_tells_its_peaks_and_what_lies_outside_the_allocator(fractions: list[float]) -> None:
    assert memory_costs(torch.device("cuda")) == {
        "cost/peak_memory_mb": 2500.0,
        "cost/reserved_memory_mb": 3000.0,
        "cost/outside_memory_mb": 500.0,
        "cost/device_memory_mb": 16000.0,
    }


def test_a_cpu_tells_its_process(fractions: list[float]) -> None:
    assert list(memory_costs(torch.device("cpu"))) == ["cost/peak_memory_mb"]


def test_the_allocator_is_held_to_its_limit_and_let_go_again(fractions: list[float]) -> None:
    limit_memory(4_000)
    limit_memory(None)
    limit_memory(20_000)
    assert fractions == [0.25, 1.0, 1.0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (MemoryError("host"), False),
    ],
)
def test_only_a_full_gpu_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
