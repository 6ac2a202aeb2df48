"""Small ablations of the planted trainer; as a process of its own, to be killed: `... STATE NAME SECONDS`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from effects import TRAINER

from tune.ablate import AblationResult, ablate
from tune.ablation.ablation_spec import AblationSpec

WORSE = {"name": "worse", "question": "Is momentum needed?", "overrides": {"optim.beta1": 0.85}}
NEUTRAL = {"name": "neutral", "overrides": {"optim.beta2": 0.99}}
RENAMED = {"name": "renamed", "overrides": {"quantizer.decay": 0.99}}
RATE = {"optim.learning_rate": {"type": "float", "low": 5e-4, "high": 8e-3, "log": True}}


def ablation(name: str = "planted", **settings: Any) -> AblationSpec:
    base = {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0, "train.device": "cpu"}
    values: dict[str, Any] = {
        "name": name,
        "question": "What does momentum give?",
        "base": {**base, **settings.pop("base", {})},
        "arms": [WORSE, RENAMED],
        "seeds": 8,
        "nuisance": RATE,
        "trials_per_arm": 2,
        "objective": {"metric": "validation/nll_per_char"},
        "margin": 0.01,
        **settings,
    }
    return AblationSpec.parse({key: value for key, value in values.items() if value is not None})


def drive(state: Path, name: str, milliseconds: int) -> AblationResult:
    spec = ablation(name, base={"optim.warmup_steps": milliseconds}, seeds=7)
    return ablate(spec, state=state, trainer=TRAINER)


if __name__ == "__main__":
    print("stopped:", drive(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).stopped)
