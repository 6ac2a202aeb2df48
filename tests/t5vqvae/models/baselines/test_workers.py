"""Two workers that share a batch train every architecture as one worker does with the whole of it.

One pair of processes runs every case; of nine sentences a step the workers get five and four, padded differently. What
a model draws for itself would differ: dropout and word dropping are off, noise is a function of what it is added to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from baseline_runs import CASES, finish, tiny
from torch import Tensor

CALM: dict[str, dict[str, Any]] = {
    "prompts": {"model.prompts.temperature": 1e-6},  # every sample is the nearest entry
    "aae": {"model.dropout": 0.0},
    "daae": {"model.dropout": 0.0, "model.word_drop": 0.0},
    "cross layer": {"model.dropout": 0.0},
    "cross layer, leaking": {"model.dropout": 0.0},
}
IDLE = {"gaussian sentence": ("EncDecAttention.q", "EncDecAttention.k")}
"""Weights whose gradient is 0 but for rounding, which AdamW turns into whole steps: attention to one position only."""
STEPS = {"train.max_steps": 5, "train.eval_every": 5, "train.batch_size": 9, "evaluate.num_generated": 0}
Result = tuple[dict[str, Tensor], dict[str, float]]


def noise_of(x: Tensor) -> Tensor:
    """Stands in for `torch.randn_like`: the same for a sentence wherever it is computed, and never 0 for all."""
    return (7.0 * x.detach() + 1.0).sin()


def trained(case: str, network: str, cache: Path) -> Result:
    name, overrides = CASES[case]
    backbone = {"model.backbone": network} if "model.backbone" in overrides else {}
    milestones, state = finish(tiny(name, **{**overrides, **backbone, **CALM.get(case, {}), **STEPS}), cache)
    metrics = milestones[-1].metrics
    return state, {key: value for key, value in metrics.items() if not key.startswith("cost/")}


def work(rank: int, folder: str, network: str, cache: str) -> None:
    torch.set_num_threads(1)
    torch.randn_like = noise_of
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({case: trained(case, network, Path(cache)) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(network: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Result]]]:
    """What each of the two workers has in the end, by case."""
    folder = tmp_path_factory.mktemp("workers")
    trained("t5vqvae", str(network), cache)  # prepares the data, which all cases but two share
    trained("cross layer", str(network), cache)
    mp.spawn(work, args=(str(folder), str(network), str(cache)), nprocs=2)
    yield [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("case", list(CASES))
def test_two_workers_train_as_one(
    case: str, together: list[dict[str, Result]], network: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "randn_like", noise_of)
    state, metrics = trained(case, str(network), cache)
    for worker in together:
        theirs, their_metrics = worker[case]
        for key, value in state.items():
            if any(idle in key for idle in IDLE.get(case, ())):
                continue
            torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-4, msg=key)
        assert their_metrics == pytest.approx(metrics, rel=1e-3, abs=1e-4)
