"""A training step of the whole model with a codebook of 10,000 entries, against the same T5 without a bottleneck.

    python tests/benchmarks/model_step.py [--steps 6] [--device cpu] [--output tests/benchmarks/results/model_step.md]

t5-small's size from scratch, 32 sentences of 8 to 32 tokens, forward, backward, clipping, AdamW and the quantizer's
update, through the trainer's own `train_step`. Both sides alternate in one process; CPU time on a CPU, wall time
on a GPU; the median of the steps. Goal: at most 1.10.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from t5vqvae.data import Batch
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import Trainer

VOCABULARY, BATCH, LENGTH = 32_128, 32, 32
SMALL = {
    "model.d_model": 512,
    "model.d_ff": 2048,
    "model.num_heads": 8,
    "model.num_layers": 6,
    "model.num_decoder_layers": 6,
}
EMA = {"quantizer.codebook_size": 10_000, "quantizer.start": "random"}


class _Vocabulary:
    def __len__(self) -> int:
        return VOCABULARY


class _Plan:
    """The same random batch at every step."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(8, LENGTH + 1, (BATCH,), generator=generator)
        mask = torch.arange(LENGTH) < lengths.unsqueeze(-1)
        ids = torch.randint(3, VOCABULARY, (BATCH, LENGTH), generator=generator) * mask
        self.batch = Batch(ids, mask, ids.masked_fill(~mask, -100), None, lengths)

    def local_batches(self, step: int) -> list[Batch]:
        return [self.batch]


class _Split:
    """Stands in for a tokenized split: the batch comes from `_Plan`."""

    lengths = (LENGTH,) * BATCH

    def __len__(self) -> int:
        return BATCH


def trainer(overrides: dict[str, Any], device: str) -> Trainer:
    """Returns a trainer past the start of its codebook, ready for `train_step`."""
    spec = RunSpec().with_overrides({**SMALL, **overrides, "train.device": device, "train.batch_size": BATCH})
    prepared = SimpleNamespace(train=_Split(), validation=None, tokenizer=_Vocabulary(), role_names=("none",))
    made = Trainer(spec, prepared)
    made.plan = _Plan()
    made.model.quantizer.active = True
    return made


def seconds_of_step(made: Trainer) -> float:
    """Runs one step and returns its CPU time, or its wall time on a GPU."""
    if made.device.type == "cuda":
        torch.cuda.synchronize()
        begin = time.perf_counter()
        made.train_step()
        torch.cuda.synchronize()
        return time.perf_counter() - begin
    begin = time.process_time()
    made.train_step()
    return time.process_time() - begin


def table(rows: dict[str, list[float]], device: str) -> str:
    """Returns the result as Markdown."""
    plain = statistics.median(rows["none"])
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, one thread"
    lines = [
        "# A training step with and without a bottleneck",
        "",
        f"`python tests/benchmarks/model_step.py --steps {len(rows['none'])} --device {device}` on {name},"
        f" torch {torch.__version__.split('+')[0]}.",
        "",
        "| bottleneck | median seconds | fastest | over none (median) |",
        "| --- | --- | --- | --- |",
    ]
    for side, seconds in rows.items():
        middle = statistics.median(seconds)
        lines.append(f"| {side} | {middle:.3f} | {min(seconds):.3f} | {middle / plain:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures both sides and prints (and writes) the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sides = {
        "none": trainer({"quantizer.name": "none"}, options.device),
        "ema, K = 10,000": trainer(EMA, options.device),
    }
    rows: dict[str, list[float]] = {side: [] for side in sides}
    for step in range(options.steps + 2):
        for side, made in sides.items():
            seconds = seconds_of_step(made)
            if step >= 2:
                rows[side].append(seconds)
    text = table(rows, options.device)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)


if __name__ == "__main__":
    main()
