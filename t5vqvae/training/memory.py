"""Measures the memory that a run uses on its device, and limits its process to a share of it."""

from __future__ import annotations

import torch

MB = 1e6
NO_ROOM = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Messages of CUDA's libraries for memory outside PyTorch's allocator: a new process's context, a workspace."""


def memory_costs(device: torch.device) -> dict[str, float]:
    """Returns the memory that a run has used on its device so far, in MB.

    On a CPU `cost/peak_memory_mb` is the process's current resident memory. On a GPU:

    - `cost/peak_memory_mb`: the peak of tensors.
    - `cost/reserved_memory_mb`: the peak that the allocator took from the GPU for them.
    - `cost/outside_memory_mb`: memory in use now outside the allocator: the process's CUDA context, kernels and
      libraries, and any other process on the same GPU.
    - `cost/device_memory_mb`: all memory of the GPU.
    """
    if device.type != "cuda":
        import psutil

        return {"cost/peak_memory_mb": psutil.Process().memory_info().rss / MB}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "cost/peak_memory_mb": torch.cuda.max_memory_allocated(device) / MB,
        "cost/reserved_memory_mb": torch.cuda.max_memory_reserved(device) / MB,
        "cost/outside_memory_mb": (total - free - torch.cuda.memory_reserved(device)) / MB,
        "cost/device_memory_mb": total / MB,
    }


def limit_memory(limit_mb: float | None) -> None:
    """Limits this process's allocator to `limit_mb` MB of its GPU; None: no limit. A no-op without a GPU.

    A process over its limit runs out of memory itself, instead of another process on the same GPU.
    """
    if not torch.cuda.is_available():
        return
    total = torch.cuda.mem_get_info()[1] / MB
    torch.cuda.set_per_process_memory_fraction(1.0 if limit_mb is None else min(1.0, limit_mb / total))


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that the GPU's memory was full."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_ROOM)
