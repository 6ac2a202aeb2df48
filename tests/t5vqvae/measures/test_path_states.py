"""Frechet distance and path length in a frozen encoder, by closed forms and on a model that is known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from baseline_runs import finish, tiny

from t5vqvae.errors import DataError
from t5vqvae.measures.path_states import frechet, perceptual_length
from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec

RNG = np.random.default_rng(0)


def test_the_frechet_distance_by_its_formula() -> None:
    one_NE, other_NE = RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 4)), RNG.normal(size=(50, 4)) + 2
    first_EE, second_EE = np.cov(one_NE, rowvar=False), np.cov(other_NE, rowvar=False)
    root_EE = scipy.linalg.sqrtm(first_EE @ second_EE).real
    expected = ((one_NE.mean(0) - other_NE.mean(0)) ** 2).sum() + np.trace(first_EE + second_EE - 2 * root_EE)
    assert frechet(one_NE, other_NE) == pytest.approx(expected)
    assert frechet(one_NE, one_NE) == pytest.approx(0, abs=1e-9)


def test_one_dimension_by_hand() -> None:
    """Two points a side: means 1 and 6, standard deviations sqrt(2) and 2 sqrt(2): 25 + 2."""
    one_NE, other_NE = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[4.0, 0.0], [8.0, 0.0]])
    assert frechet(one_NE, other_NE) == pytest.approx(27.0)


def test_an_even_path_is_shortest_and_a_jump_longest() -> None:
    """By hand: from 0 to 1 in 10 steps of .1, 100 x .01 = 1; in one jump, 100 x 1 / 10 = 10."""
    even_LE, jump_LE = np.linspace(0, 1, 11)[:, None], np.array([0.0] * 5 + [1.0] * 6)[:, None]
    assert perceptual_length(even_LE) == pytest.approx(1.0)
    assert perceptual_length(jump_LE) == pytest.approx(10.0)


def test_a_probe_judges_paths_in_another_model_s_states(tmp_path: Path) -> None:
    short = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_examples": 8, "evaluate.num_generated": 2}
    spec = tiny("t5vqvae", **short)
    milestones, _ = finish(spec, tmp_path / "cache")
    state = milestones[-1].state
    other, _ = finish(spec.with_overrides({"seed": 1}), tmp_path / "cache")
    found = []
    for judge in (state, other[-1].state):
        wanted = ProbeSpec(sentences=20, encoder=str(judge.save(tmp_path / f"run {len(found)}")))
        found.append(probe(state.model, spec, wanted, tmp_path / "cache", ["path_states"]).metrics)
    with pytest.raises(DataError, match=r"encoder=.*nosuch holds no model"):
        probe(state.model, spec, ProbeSpec(sentences=20, encoder="nosuch"), tmp_path / "cache", ["examples"])
    assert set(found[0]) == set(found[1]) == {"smoothness/frechet", "smoothness/perceptual_length"}
    assert all(each["smoothness/frechet"] > 0 for each in found)
    assert found[0]["smoothness/frechet"] != pytest.approx(found[1]["smoothness/frechet"], rel=1e-3)
    assert not probe(state.model, spec, ProbeSpec(sentences=20), tmp_path / "cache", ["path_states"]).metrics
