"""The trainer, with a note a trial: when it was asked for, its first step and its end, and its process's memory.

For `search(trainer="tests.benchmarks.search_noted:train")`; the notes are lines of JSON in `notes.jsonl` beside the
cache, written by the processes that train.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_pre_hook

from t5vqvae import train as trainer
from t5vqvae.spec import RunSpec


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[trainer.Milestone]:
    """Trains as `t5vqvae.train.train` does."""
    asked, cpu = time.time(), time.process_time()
    stepped: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda *_: stepped.append(time.time()))
    try:
        yield from trainer.train(spec, cache_dir=cache_dir, resume_from=resume_from)
    finally:
        hook.remove()
        note = {"pid": os.getpid(), "asked": asked, "stepped": stepped[0], "ended": time.time(), "cpu": cpu, **memory()}
        with (cache_dir.parent / "notes.jsonl").open("a") as file:
            file.write(json.dumps(note) + "\n")


def memory() -> dict[str, float]:
    """Returns this process's RSS, PSS and USS in MB."""
    sizes: dict[str, float] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name.rstrip(":")] = int(size) * 1024 / 1e6
    return {"rss": sizes["Rss"], "pss": sizes["Pss"], "uss": sizes["Private_Clean"] + sizes["Private_Dirty"]}
