"""The trainer, with a note a trial: when it was asked for, its first step, its last evaluation, its end, its memory.

For `search(trainer="tests.benchmarks.search_noted:train")`; the notes are lines of JSON in `notes.jsonl` beside the
cache, written by the processes that train.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_pre_hook

from t5vqvae.spec.run import RunSpec
from t5vqvae.training import trainer

FILE = "notes.jsonl"


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[trainer.Milestone]:
    """Trains as `t5vqvae.training.trainer.train` does."""
    with noted(cache_dir.parent) as note:
        for milestone in trainer.train(spec, cache_dir=cache_dir, resume_from=resume_from):
            note["evaluated"] = time.time()
            yield milestone


@contextmanager
def noted(folder: Path) -> Iterator[dict[str, float]]:
    """Notes a training into `folder`; the caller adds when it was `evaluated` last. Times are seconds since 1970."""
    note = {"pid": os.getpid(), "asked": time.time(), "cpu": time.process_time()}

    def note_first_step(*_: object) -> None:
        note.setdefault("stepped", time.time())

    hook = register_optimizer_step_pre_hook(note_first_step)
    try:
        yield note
    finally:
        hook.remove()
        with (folder / FILE).open("a") as file:
            file.write(json.dumps({**note, "ended": time.time(), **memory()}) + "\n")


def read(folder: Path) -> list[dict[str, float]]:
    """Returns the notes, one a training, in the order of their ends."""
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def memory(process: int | str = "self") -> dict[str, float]:
    """Returns a process's RSS, PSS and USS in MB."""
    sizes: dict[str, float] = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name.rstrip(":")] = int(size) * 1024 / 1e6
    return {"rss": sizes["Rss"], "pss": sizes["Pss"], "uss": sizes["Private_Clean"] + sizes["Private_Dirty"]}
