"""What a run takes of its device's memory, and how its process is held to a share of it."""

from __future__ import annotations

import torch

MB = 1e6
NO_ROOM = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What CUDA's libraries say where PyTorch's allocator was not asked: a new process's context, a handle's workspace."""


def memory_costs(device: torch.device) -> dict[str, float]:
    """Returns what a run has taken of its device so far, in MB.

    On a CPU `cost/peak_memory_mb` is the process's present resident memory. On a GPU it is the peak of tensors, and
    there are besides: `cost/reserved_memory_mb`, the peak that the allocator took from the GPU for them;
    `cost/outside_memory_mb`, what is in use now and is not the allocator's (the process's CUDA context, kernels and
    libraries, and other processes, unless the run has the GPU to itself); `cost/device_memory_mb`, what the GPU has.
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
    """Holds this process's allocator to so many MB of its GPU; None: to all of it. Without a GPU it does nothing.

    Beyond the limit the process that asks too much runs out of memory itself, instead of one that shares its GPU.
    """
    if not torch.cuda.is_available():
        return
    total = torch.cuda.mem_get_info()[1] / MB
    torch.cuda.set_per_process_memory_fraction(1.0 if limit_mb is None else min(1.0, limit_mb / total))


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that the GPU had no room left."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_ROOM)
