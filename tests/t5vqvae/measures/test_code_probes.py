"""Probes of planted vectors: structure beats its control task, names of tokens do not, noise has chance."""

from __future__ import annotations

import numpy as np
import pytest

from t5vqvae.measures.code_probes import Task, probe_scores

NUM, KINDS = 1_500, 60
RNG = np.random.default_rng(0)
KIND = RNG.integers(KINDS, size=NUM)
ROLE_OF_KIND = RNG.permutation(np.arange(KINDS) % 3)
ROLES = [f"role {role}" for role in ROLE_OF_KIND[KIND]]
SENTENCES = (np.arange(NUM) // 5).tolist()


def scores(vectors_NE: np.ndarray) -> dict[str, float]:
    return probe_scores(Task(vectors_NE, ROLES, KIND.tolist(), SENTENCES), seed=0)


def test_vectors_that_hold_the_role_beat_the_control_task() -> None:
    found = scores(np.eye(3)[ROLE_OF_KIND[KIND]] + RNG.normal(size=(NUM, 3)) * 0.1)
    assert found["accuracy"] > 0.98 and found["control"] < 0.7
    assert found["shuffled"] == pytest.approx(1 / 3, abs=0.08)


def test_vectors_that_name_tokens_are_as_good_at_random_labels() -> None:
    found = scores(np.eye(KINDS)[KIND])
    assert found["accuracy"] > 0.98 and found["control"] > 0.98, "an accuracy of 1 that shows no structure"


def test_noise_has_chance_everywhere() -> None:
    found = scores(RNG.normal(size=(NUM, 8)))
    assert all(value == pytest.approx(1 / 3, abs=0.1) for name, value in found.items() if name != "control")
