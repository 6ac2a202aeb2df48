"""Frees what a run that has ended leaves in its process; the next one starts as in a new process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def free_memory() -> None:
    """Returns the memory of a run that has ended to the system and the GPU, and starts its peak anew."""
    gc.collect()
    _trim_heap()
    torch = sys.modules.get("torch")  # not imported: then no run has used it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _trim_heap() -> None:
    """Returns freed memory to the system, where the C library is GNU's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
