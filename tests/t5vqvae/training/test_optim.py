"""The learning rate's schedules, by hand."""

from __future__ import annotations

import pytest

from t5vqvae.spec.training import OptimConfig
from t5vqvae.training.optim import learning_rate_at


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]), ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0])],
)
def test_learning_rates_by_hand(schedule: str, expected: list[float]) -> None:
    config = OptimConfig(learning_rate=1.0, warmup_steps=2, schedule=schedule)
    assert [learning_rate_at(step, config, 6) for step in range(6)] == pytest.approx(expected)
