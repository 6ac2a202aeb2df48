"""The comparison of two models' control: by hand, and by simulation with edits that share sentences."""

from __future__ import annotations

import numpy as np
import pytest

from t5vqvae.data.corpora.edits import Edit, Kind
from t5vqvae.measures.control import Outcome
from tune.analysis import compare_means
from tune.analysis.two_controls import compare_controls


def outcome(source: int, number: int, right: bool, kind: Kind = "local") -> Outcome:
    """An edit of a numbered sentence that came out right, or changed it into something else."""
    text, answer = f"s{source} old", f"s{source} new{number}"
    edit = Edit(text, "d", answer, "c", "f", kind, (0, 1), (0, 1))
    return Outcome(edit, answer if right else f"s{source} wrong", text, "d", valid=right)


def simulated(
    rng: np.random.Generator, shift: float, num_sources: int = 60, each: int = 4
) -> tuple[list[Outcome], ...]:
    """Two models whose edits of one sentence succeed together; the first is better by `shift`."""
    luck = rng.random((2, num_sources)) < np.array([[0.5 + shift], [0.5]])
    return tuple(
        [outcome(source, number, bool(side[source])) for source in range(num_sources) for number in range(each)]
        for side in luck
    )


def test_by_hand() -> None:
    a = [outcome(0, 0, True), outcome(0, 1, True), outcome(1, 0, False), outcome(1, 1, True, "distributed")]
    b = [outcome(0, 0, True), outcome(0, 1, False), outcome(1, 0, False), outcome(1, 1, False, "distributed")]
    found = {each.name: each for each in compare_controls(a, b)}
    assert found["local intervention"].scores.a == pytest.approx(2 / 3)
    assert found["local intervention"].scores.b == pytest.approx(1 / 3)
    assert found["local intervention"].num_edits == 3 and found["local intervention"].scores.num_sentences == 2
    assert found["distributed intervention"].scores.difference == 1
    assert found["validity"].scores.a == 3 / 4 and found["locality"].scores.difference == 0
    assert all(each.p_adjusted >= each.scores.p_value for each in found.values())
    assert {each.verdict for each in found.values()} == {"undecided"}, "of one or two sentences"


def test_other_edits_are_refused() -> None:
    with pytest.raises(ValueError, match="same edits"):
        compare_controls([outcome(0, 0, True)], [outcome(0, 1, True)])


def test_equal_models_are_rarely_told_apart_though_edits_share_sentences() -> None:
    rng, claims, naive = np.random.default_rng(0), 0, 0
    for _ in range(60):
        a, b = simulated(rng, 0.0)
        found = next(iter(compare_controls(a, b)))
        claims += found.scores.p_value <= 0.05
        naive += compare_means([o.is_answer for o in a], [o.is_answer for o in b], num_resamples=300).p_value <= 0.05
    assert claims <= 8, "5% of 60 is 3"
    assert naive >= 12, "edits taken as independent claim far too often"


def test_a_better_model_is_found_and_its_difference_lies_in_the_interval() -> None:
    rng, found, inside = np.random.default_rng(1), 0, 0
    for _ in range(20):
        compared = next(iter(compare_controls(*simulated(rng, 0.3))))
        found += compared.verdict == "better"
        inside += compared.scores.low <= 0.3 <= compared.scores.high
    assert found >= 14 and inside >= 16
