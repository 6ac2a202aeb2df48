"""Assignment: the nearest entry, compared with brute force, for all block sizes, matrix products and ties."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.quantizers.parts import assignment
from t5vqvae.quantizers.parts.assignment import mean_by_code, nearest, squared_distances


def brute_force(inputs_ND: torch.Tensor, table_KD: torch.Tensor) -> torch.Tensor:
    return torch.cdist(inputs_ND.double(), table_KD.double()).square()


@pytest.mark.parametrize(("num_inputs", "size"), [(1, 2), (7, 3), (33, 1500), (1, 4000), (1500, 5)])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_nearest_is_the_nearest_by_brute_force(num_inputs: int, size: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(size)
    inputs_ND = torch.randn(num_inputs, 24, generator=generator) + offset
    table_KD = torch.randn(size, 24, generator=generator) + offset
    exact_NK = brute_force(inputs_ND, table_KD)
    taken_N = exact_NK.gather(1, nearest(inputs_ND, table_KD)[:, None])[:, 0]
    assert torch.allclose(taken_N, exact_NK.amin(1), rtol=0, atol=1e-3)
    assert torch.allclose(squared_distances(inputs_ND, table_KD).double(), exact_NK, rtol=0, atol=1e-3)


def test_the_first_of_equally_near_entries_wins_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "ENTRIES_PER_BLOCK", 2)
    monkeypatch.setattr(assignment, "ROWS_PER_BLOCK", 2)
    table_KD = torch.tensor([[9.0], [1.0], [5.0], [1.0], [5.0]])
    assert nearest(torch.tensor([[1.0], [5.0], [0.0], [8.0], [5.5]]), table_KD).tolist() == [1, 2, 1, 0, 2]


def test_blocks_do_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs_ND, table_KD = torch.randn(50, 8), torch.randn(70, 8)
    whole_N = nearest(inputs_ND, table_KD)
    monkeypatch.setattr(assignment, "ENTRIES_PER_BLOCK", 16)
    monkeypatch.setattr(assignment, "ROWS_PER_BLOCK", 7)
    assert torch.equal(nearest(inputs_ND, table_KD), whole_N)


def test_the_plain_product_chooses_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs_ND, table_KD = torch.randn(50, 8), torch.randn(70, 8)
    fast_N = nearest(inputs_ND, table_KD)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert torch.equal(nearest(inputs_ND, table_KD), fast_N)


def test_unit_compares_directions() -> None:
    table_KD = torch.tensor([[100.0, 100.0], [0.1, 0.0]])
    inputs_ND = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert nearest(inputs_ND, table_KD, unit=True).tolist() == [1, 0]
    assert nearest(inputs_ND, table_KD).tolist() == [1, 1]


def test_no_inputs_take_no_entries() -> None:
    assert nearest(torch.empty(0, 3), torch.randn(4, 3)).shape == (0,)
    assert squared_distances(torch.empty(0, 3), torch.randn(4, 3)).shape == (0, 4)
    touched_U, counts_U, means_UD = mean_by_code(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    assert touched_U.numel() == counts_U.numel() == means_UD.numel() == 0


def test_assignment_is_float32_under_autocast() -> None:
    inputs_ND, table_KD = torch.randn(40, 64) + 30, torch.randn(200, 64) + 30
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed_N = nearest(inputs_ND, table_KD)
    assert torch.equal(mixed_N, nearest(inputs_ND, table_KD))


def test_mean_by_code() -> None:
    inputs_ND = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])
    touched_U, counts_U, means_UD = mean_by_code(inputs_ND, torch.tensor([7, 2, 7]))
    assert touched_U.tolist() == [2, 7]
    assert counts_U.tolist() == [1.0, 2.0]
    assert means_UD.tolist() == [[3.0, 4.0], [3.0, 5.5]]
