"""The latency of two models, measured in turns, by a clock that the test turns."""

from __future__ import annotations

import math
from typing import Any

import pytest

from t5vqvae.evaluation import latency
from t5vqvae.evaluation.latency import latency_ratio


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each run of the model `slow` takes three seconds, of `quick` one; everything is as slow as the machine is."""
    made: list[str] = []
    time = [0.0]

    def reconstruct(model: Any, texts: list[str], max_new_tokens: int, roles: None) -> None:
        busy = 5.0 if len(made) in (2, 3, 8, 9) else 1.0  # in both turns of a round
        time[0] += busy * (3.0 if model == "slow" else 1.0)
        made.append(model)

    monkeypatch.setattr(latency, "reconstruct", reconstruct)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: time[0])
    return made


def test_the_ratio_is_that_of_the_models_also_on_a_machine_that_is_busy_at_times(runs: list[str]) -> None:
    ratio, low, high = latency_ratio("slow", "quick", ["a"], 8, rounds=6)  # type: ignore[arg-type]
    assert (ratio, low, high) == (pytest.approx(3), pytest.approx(3), pytest.approx(3))
    assert math.isclose(latency_ratio("quick", "slow", ["a"], 8, rounds=2)[0], 1 / 3)  # type: ignore[arg-type]


def test_the_first_place_alternates(runs: list[str]) -> None:
    latency_ratio("slow", "quick", ["a"], 8, rounds=3)  # type: ignore[arg-type]
    assert [runs[place] for place in range(0, 8, 2)] == ["quick", "slow", "quick", "slow"]
