"""A trainer of milliseconds with planted effects, for ablations.

Nats a character are `0.1 |log10(learning_rate / 2e-3)| + (0.9 - beta1) + a part of the seed + a smaller one of seed and
setting`: arms that lower `optim.beta1` are worse by as much, and share the seed's part with the baseline. What
`optim.weight_decay` does, and the log of starts, are `stub`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import stub

from t5vqvae.spec.run import RunSpec

TRAINER = "effects:train"


def loss(spec: RunSpec) -> float:
    tuning = 0.1 * abs(math.log10(spec.optim.learning_rate / 2e-3))
    ours = random.Random(f"{spec.seed} {spec.optim.beta1} {spec.optim.weight_decay}").gauss(0, 0.002)
    return 1 + tuning + (0.9 - spec.optim.beta1) + random.Random(spec.seed).gauss(0, 0.05) + ours


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[stub.Milestone]:
    for milestone in stub.train(spec, cache_dir=cache_dir, resume_from=resume_from):
        if milestone.status != "diverged":
            milestone.metrics["validation/nll_per_char"] = loss(spec) + 1 / milestone.step - 1 / spec.train.max_steps
            milestone.metrics["cost/step_seconds"] = 0.001
        milestone.state.milestone["run_id"] = spec.run_id(TRAINER, "float32")
        yield milestone
