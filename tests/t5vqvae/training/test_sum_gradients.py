"""Gradients over workers: what no worker used has none, so the optimizer takes no step for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from t5vqvae.training import workers


def test_a_parameter_that_no_worker_used_stays_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros would count as a step of AdamW: after a warm-up, its first steps would be three times as long."""
    here, elsewhere = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    idle, model = nn.Linear(2, 1, bias=False), nn.ModuleList()
    model.extend([here, elsewhere, idle])
    here.weight.grad = torch.tensor([[1.0, 2.0]])

    def as_of_two(flat: torch.Tensor) -> None:
        """The other worker used the second one alone."""
        flat += torch.tensor([0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    monkeypatch.setattr(workers, "rank_and_world", lambda: (0, 2))
    monkeypatch.setattr(workers.dist, "all_reduce", as_of_two)
    workers.sum_gradients(model)
    assert here.weight.grad.tolist() == [[1.0, 2.0]] and idle.weight.grad is None
    assert elsewhere.weight.grad is not None and elsewhere.weight.grad.tolist() == [[3.0, 4.0]]
