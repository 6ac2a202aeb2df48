"""Synchronisation: two workers reach the state of one worker that gets both batches, except for rounding.

One pair of processes runs every case. Each case cuts a batch into two halves with different padding; in `first only`
the second worker has no position.

Letters: B sentences, T positions, E model width, K entries, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from t5vqvae.quantizers import Quantizer, QuantizerConfig
from t5vqvae.quantizers.kmeans import KMeansConfig
from t5vqvae.quantizers.parts.distributed import gather_rows, gather_together, sum_over_workers
from t5vqvae.quantizers.parts.losses import missing_entropy
from t5vqvae.quantizers.parts.revival import are_far

CASES: dict[str, dict[str, Any]] = {
    "ema": {"name": "ema"},
    "ema revival": {"name": "ema", "revive_below": 0.99},
    "ema far revival": {"name": "ema", "revive_below": 0.99, "revive_beyond": 0.25},
    "ema product": {"name": "ema", "num_codebooks": 2, "shared_codebook": True, "distance": "cosine"},
    "ema moments": {"name": "ema", "affine": "moments"},
    "vq revival": {"name": "vq", "revive_below": 0.99, "affine": "moments", "entropy_weight": 1.0},
    "kmeans": {"name": "kmeans", "recluster_every": 2, "num_codebooks": 2},
}
WIDTH, STEPS = 6, 4
LENGTHS = {"both": [5, 2, 3, 1], "first only": [5, 2, 0, 0]}


def sentences(which: str, step: int) -> tuple[Tensor, Tensor]:
    """Returns the states of four sentences, with garbage at padding, and the mask."""
    lengths_B = torch.tensor(LENGTHS[which])
    states_BTE = torch.randn(4, 5, WIDTH, generator=torch.Generator().manual_seed(step))
    return states_BTE, torch.arange(5) < lengths_B[:, None]


def state_after(case: str, which: str, rank: int | None) -> dict[str, Tensor]:
    """Returns the state after some steps on all sentences (`rank` None) or on one worker's two."""
    quantizer = QuantizerConfig.variants[CASES[case]["name"]].parse({"codebook_size": 8, **CASES[case]}).build(WIDTH)
    for step in range(STEPS):
        states_BTE, mask_BT = sentences(which, step)
        if rank is not None:
            states_BTE, mask_BT = states_BTE[2 * rank : 2 * rank + 2], mask_BT[2 * rank : 2 * rank + 2]
        if rank == 1:  # Its longest sentence is shorter, so its batch is narrower.
            states_BTE, mask_BT = states_BTE[:, :3], mask_BT[:, :3]
        _train(quantizer, states_BTE, mask_BT)
    return quantizer.state_dict()


def _train(quantizer: Quantizer, states_BTE: Tensor, mask_BT: Tensor) -> None:
    output = quantizer(states_BTE.clone().requires_grad_(), mask_BT)
    (output.quantized_BTE.sum() + output.aux_loss).backward()
    quantizer.update()


def entropy_gradients(inputs_ND: Tensor) -> tuple[float, Tensor]:
    """Returns the entropy term and its gradient of the table, of which every worker has a copy."""
    table_KD = torch.randn(5, 3, generator=torch.Generator().manual_seed(9)).requires_grad_()
    value = missing_entropy(inputs_ND.requires_grad_(), table_KD, 1.0, True)
    value.backward()
    return value.item(), torch.zeros_like(table_KD) if table_KD.grad is None else table_KD.grad


def entropy_inputs() -> Tensor:
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(3))


def reclustered(rank: int) -> Tensor:
    """Returns the entries that k-means makes of the first worker's inputs, or of slightly other ones."""
    quantizer = KMeansConfig(codebook_size=8).build(WIDTH)
    quantizer.rings_QPD.copy_(torch.randn(quantizer.rings_QPD.shape, generator=torch.Generator().manual_seed(0)))
    quantizer.rings_QPD += 0.01 * rank
    quantizer.num_noted_Q += 80
    quantizer._recluster()
    return quantizer.entries_QKD


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found: dict[str, Any] = {f"{case}, {which}": state_after(case, which, rank) for case in CASES for which in LENGTHS}
    nudged_MD = torch.full((1, 1), 1.0 + 1e-6 * rank)  # rounding put the entry on another side of the limit on rank 1
    found["far"] = are_far(torch.tensor([[2.0]]), nudged_MD, torch.tensor(1.0 - 1e-7))
    found["reclustered"] = reclustered(rank)
    rows = torch.arange(3 - 2 * rank)[:, None] + 10 * rank
    found["rows"] = gather_rows(rows)
    found["none"] = gather_together(rows[:0], rows[:0].float())
    for name, cut in (("uneven", 5), ("empty", 7)):
        found[f"entropy {name}"] = entropy_gradients(entropy_inputs()[:cut] if rank == 0 else entropy_inputs()[cut:])
    part = torch.tensor(2.0 + rank, requires_grad=True)
    total = sum_over_workers(part)
    (total * (10.0 + rank)).backward()
    found["sum"] = (total.item(), part.grad.item())
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    folder: Path = tmp_path_factory.mktemp("workers")
    mp.spawn(work, args=(str(folder),), nprocs=2)
    yield [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("which", list(LENGTHS))
@pytest.mark.parametrize("case", list(CASES))
def test_two_workers_end_in_the_state_of_one(found: list[dict[str, Any]], case: str, which: str) -> None:
    alone = state_after(case, which, None)
    fresh = QuantizerConfig.variants[CASES[case]["name"]].parse({"codebook_size": 8, **CASES[case]}).build(WIDTH)
    first, second = (worker[f"{case}, {which}"] for worker in found)
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], value, atol=1e-5), name
    assert not torch.equal(alone["entries_QKD"], fresh.state_dict()["entries_QKD"])


def test_what_is_far_is_decided_by_the_first_worker(found: list[dict[str, Any]]) -> None:
    assert [worker["far"].tolist() for worker in found] == [[True], [True]], "by itself the second one says False"
    assert are_far(torch.tensor([[2.0]]), torch.full((1, 1), 1.0 + 1e-6), torch.tensor(1.0 - 1e-7)).tolist() == [False]


def test_what_k_means_finds_is_the_first_workers(found: list[dict[str, Any]]) -> None:
    first, second = (worker["reclustered"] for worker in found)
    assert torch.equal(first, second) and torch.equal(first, reclustered(0))


def test_rows_are_gathered_in_rank_order(found: list[dict[str, Any]]) -> None:
    assert all(worker["rows"].flatten().tolist() == [0, 1, 2, 10] for worker in found)
    assert all([tuple(part.shape) for part in worker["none"]] == [(0, 1), (0, 1)] for worker in found)


@pytest.mark.parametrize("cut", ["uneven", "empty"])
def test_entropy_is_that_of_all_workers_together(found: list[dict[str, Any]], cut: str) -> None:
    value, grad_KD = entropy_gradients(entropy_inputs())
    for worker in found:
        assert worker[f"entropy {cut}"][0] == pytest.approx(value, abs=1e-6)
    mean_KD = (found[0][f"entropy {cut}"][1] + found[1][f"entropy {cut}"][1]) / 2
    assert torch.allclose(mean_KD, grad_KD, atol=1e-6)


def test_the_sums_gradient_adds_up_the_workers(found: list[dict[str, Any]]) -> None:
    assert [worker["sum"] for worker in found] == [(5.0, 21.0), (5.0, 21.0)]


def test_one_process_gathers_itself() -> None:
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows and sum_over_workers(rows) is rows
