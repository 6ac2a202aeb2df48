"""A trainer of milliseconds with the interface of `t5vqvae.training.trainer.train`: real checkpoints, made-up metrics.

Its quality follows from the settings, `loss = |log10(learning_rate) + 3| + 1 / step`, and every milestone begun leaves
a line in `starts.log` beside the cache (by the first of several workers), so that tests can count what was trained
twice. Settings that do something:
`optim.weight_decay=0.5` raises at the second milestone, `0.25` diverges there, `0.75` kills the process there once.
`optim.warmup_steps` is the milliseconds that a step takes. While there is a file `full` beside the cache, the disk is.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from t5vqvae.spec.run import RunSpec
from t5vqvae.training import checkpoint


@dataclass(frozen=True)
class State:
    spec: RunSpec
    milestone: dict[str, Any]
    full: Path

    def save(self, directory: Path) -> Path:
        path = checkpoint.path_of(directory, self.milestone["step"])
        return checkpoint.write(path, self.spec, self.milestone, self._fill)

    def _fill(self, folder: Path) -> None:
        weights = folder / "weights"
        weights.write_text("w")
        if self.full.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(weights))


@dataclass(frozen=True)
class Milestone:
    step: int
    metrics: dict[str, float]
    tags: dict[str, str]
    status: str
    state: State
    samples: list[Any]
    code_counts: list[list[int]]


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[Milestone]:
    first = 0 if resume_from is None else checkpoint.read_milestone(resume_from)["step"]
    cache_dir.mkdir(parents=True, exist_ok=True)
    every, last = spec.train.eval_every, spec.train.max_steps
    for step in range(first + every, last + 1, every):
        if not dist.is_initialized() or dist.get_rank() == 0:
            with (cache_dir.parent / "starts.log").open("a") as log:
                log.write(f"{spec.optim.learning_rate} {step}\n")
        time.sleep(spec.optim.warmup_steps / 1000 * every)
        status = "completed" if step == last else "running"
        if step >= 2 * every:
            status = misbehave(spec, cache_dir) or status
        yield milestone(spec, step, status, cache_dir.parent / "full")
        if status == "diverged":
            return


def misbehave(spec: RunSpec, cache_dir: Path) -> str | None:
    if spec.optim.weight_decay == 0.5:
        raise RuntimeError("the trainer broke")
    if spec.optim.weight_decay == 0.75:
        flag = cache_dir / f"killed-{spec.optim.learning_rate}"
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return "diverged" if spec.optim.weight_decay == 0.25 else None


def milestone(spec: RunSpec, step: int, status: str, full: Path) -> Milestone:
    loss = abs(math.log10(spec.optim.learning_rate) + 3) + 1 / step
    metrics = {
        "validation/nll": loss,
        "validation/exact_match": 1 / (1 + loss),
        "rate/bits_per_token": 8.0,
        "rate/joint_bits_per_token": 7.5,
        "rate/prior_bits_per_token": 7.0,
        "codebook/usage": 0.5,
        "progress/step": float(step),
        "progress/tokens": 100.0 * step,
    }
    if status == "diverged":
        metrics = {key: value for key, value in metrics.items() if key.startswith("progress/")}
    stored = {"step": step, "status": status, "metrics": metrics, "tags": {}, "samples": [], "run_id": "0" * 16}
    return Milestone(step, metrics, {}, status, State(spec, stored, full), [], [])
