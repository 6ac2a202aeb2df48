"""Word Mover's Distance against brute force, and smoothness worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from t5vqvae.measures.smoothness import Distance, Path, path_of, scores
from t5vqvae.measures.word_vectors import skip_gram, stop_words

RNG = np.random.default_rng(0)
WORDS = [f"w{number}" for number in range(12)]
RANDOM = {word: (vector := RNG.normal(size=5)) / np.linalg.norm(vector) for word in WORDS}
LINE = {f"p{number}": np.array([float(number)]) for number in range(11)}
"""Words on a line, so that distances are differences."""


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_of_equally_many_words_is_the_best_assignment(seed: int) -> None:
    words = np.random.default_rng(seed).permutation(WORDS).tolist()
    left, right = words[:5], words[5:10]
    best = min(
        sum(float(np.linalg.norm(RANDOM[a] - RANDOM[b])) for a, b in zip(left, order, strict=True)) / 5
        for order in itertools.permutations(right)
    )
    assert Distance(RANDOM)(" ".join(left), " ".join(right)) == pytest.approx(best)


def test_unequal_counts_by_hand() -> None:
    # Half of p0 p4 stays at 0 and half moves by 4; p2 alone: both halves move by 2.
    assert Distance(LINE)("p0 p4", "p0") == pytest.approx(2.0)
    assert Distance(LINE, stop_words={"of"})("p0 p4", "P2 of") == pytest.approx(2.0)
    assert Distance(LINE)("p0", "unknown") == float("inf")


def test_a_straight_path_has_one_and_a_detour_its_ratio() -> None:
    straight = path_of([f"p{place}" for place in range(11)], Distance(LINE))
    assert straight.smoothness == pytest.approx(1.0) and straight.counts
    detour = path_of(["p0", "p1", "p2", "p1", "p2", "p3", "p4"], Distance(LINE))
    assert detour.smoothness == pytest.approx(4 / 6) and detour.counts


def test_a_jump_does_not_count_though_it_is_perfectly_smooth() -> None:
    jump = path_of(["p0"] * 5 + ["p9"] * 6, Distance(LINE))
    assert jump.smoothness == pytest.approx(1.0) and not jump.counts
    mostly = path_of(["p0", "p1", "p2", "p3", "p9", "p10"], Distance(LINE))
    assert mostly.smoothness == pytest.approx(1.0) and not mostly.counts, "one step is 6 of 10"


def test_a_path_that_never_moves_is_undefined() -> None:
    assert path_of(["p3"] * 11, Distance(LINE)).smoothness is None
    assert path_of(["p3", "unknown", "p4"], Distance(LINE)).smoothness is None


def test_scores_count_the_others_as_zero_and_apart() -> None:
    paths = [Path([], 0.5, True), Path([], 1.0, False), Path([], None, False), Path([], 0.7, True)]
    found = scores(paths)
    assert found["smoothness/mean"] == pytest.approx(0.6)
    assert found["smoothness/mean_or_zero"] == pytest.approx(0.3)
    assert found["smoothness/counting_share"] == 0.5 and found["smoothness/undefined_share"] == 0.25
    assert "smoothness/mean" not in scores(paths[1:3])


def test_vectors_of_words_in_the_same_company_are_near_each_other() -> None:
    texts = [f"a {animal} eats {food} now" for animal in ("cat", "dog") for food in ("eggs", "fish")] * 1000
    vectors = skip_gram(texts, seed=3)
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-6) for vector in vectors.values())
    assert vectors["cat"] @ vectors["dog"] > vectors["cat"] @ vectors["fish"]
    again = skip_gram(texts, seed=3)
    assert all(np.array_equal(again[word], vector) for word, vector in vectors.items()), "the same every time"
    assert {"a", "the", "of"} <= stop_words()
