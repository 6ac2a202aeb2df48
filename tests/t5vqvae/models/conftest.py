"""One cache of tokenized data for all tests of the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from baseline_runs import finish, tiny


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def network(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5VQVAE without a bottleneck, trained until it is worth explaining."""
    steps = {"train.max_steps": 300, "train.eval_every": 300, "train.batch_size": 32, "evaluate.num_generated": 0}
    spec = tiny("t5vqvae", **{"quantizer.name": "none", "optim.learning_rate": 5e-3, **steps})
    milestones: Any = finish(spec, cache)[0]
    return milestones[-1].state.save(tmp_path_factory.mktemp("network")) / "model"
