"""A trainer of milliseconds on GPUs that are made up: it takes memory by its settings and the share that Ray gave it.

A GPU has 16,000 MB, 500 of which each process needs for itself. A run takes 1,000 MB and as many as its
`quantizer.codebook_size`, those divided by its micro-batches; at its second milestone it asks for all of it, and is out
of memory where its share has not as much. What every start was given is a line of `gpus.log` beside the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import effects
import ray
import stub
import torch

from t5vqvae.spec.run import RunSpec

TRAINER = "gpus:train"
DEVICE_MB, OUTSIDE_MB = 16_000, 500


def needed_mb(spec: RunSpec) -> float:
    return 1_000 + spec.quantizer.codebook_size / spec.train.microbatches


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[stub.Milestone]:
    share = float(ray.get_runtime_context().get_assigned_resources()["GPU"])
    cache_dir.mkdir(parents=True, exist_ok=True)
    line = f"{spec.quantizer.codebook_size} {share:g} {spec.train.microbatches} {resume_from is not None}\n"
    with (cache_dir.parent / "gpus.log").open("a") as log:
        log.write(line)
    for milestone in effects.train(spec, cache_dir=cache_dir, resume_from=resume_from):
        if milestone.step > spec.train.eval_every and needed_mb(spec) + OUTSIDE_MB > DEVICE_MB * share:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if milestone.status != "diverged":
            milestone.metrics.update(memory(spec, share))
        yield milestone


def without_nccl() -> None:
    """Lets workers of Ray Train talk over gloo on GPUs that are made up; to be called first in every process of Ray."""
    import ray.train.torch

    whole = ray.train.torch.TorchConfig
    ray.train.torch.TorchConfig = lambda backend: whole(backend="gloo")  # type: ignore[misc,assignment]


def memory(spec: RunSpec, share: float) -> dict[str, Any]:
    """What a GPU tells: beside a run that has it alone there is its own process, beside others there is theirs, too."""
    return {
        "cost/reserved_memory_mb": min(needed_mb(spec), DEVICE_MB * share - OUTSIDE_MB),
        "cost/outside_memory_mb": float(OUTSIDE_MB if share == 1 else DEVICE_MB / 2),
        "cost/device_memory_mb": float(DEVICE_MB),
    }
