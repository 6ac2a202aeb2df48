"""Purity, inverse purity and V-measure by hand, against scikit-learn, and about 0 for codes that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import homogeneity_completeness_v_measure
from sklearn.metrics.cluster import contingency_matrix

from t5vqvae.measures.agreement import Agreement, VMeasure, agreement, inverse_purity, purity, v_measure
from t5vqvae.measures.counted import entropy_bits, information_bits, numbered

NUM, LABELS = 10_000, 30
CODES, WORDS = np.array([0, 0, 0, 1, 1, 2]), numbered(["a", "a", "b", "c", "c", "c"])


def agree(codes_N: np.ndarray, words_N: np.ndarray) -> Agreement:
    """The agreement of numbers, some of which may be left out."""
    codes_N = numbered(codes_N.tolist())
    return agreement(codes_N, words_N, np.random.default_rng(2).permutation(codes_N), seed=1)


def plug_in(codes_N: np.ndarray, words_N: np.ndarray) -> VMeasure:
    return v_measure(information_bits(codes_N, words_N), entropy_bits(codes_N), entropy_bits(words_N))


def test_purities_by_hand() -> None:
    # Codes: a twice of three, c twice of two, c once of one. Words: a twice of two, b once of one, c twice of three.
    assert purity(CODES, WORDS) == 5 / 6 and inverse_purity(CODES, WORDS) == 5 / 6
    assert purity(CODES[:5], WORDS[:5]) == 4 / 5 and inverse_purity(CODES[:5], WORDS[:5]) == 1
    assert purity(np.arange(6), WORDS) == 1, "every code occurs once: pure by itself, so a control stands next to it"
    assert inverse_purity(np.zeros(6, int), WORDS) == 1, "one code for everything: every label has one code"


def test_the_v_measure_by_hand() -> None:
    """Two codes of two words; each label is in both codes, or in one: I = 0, or I = H = 1 bit."""
    halves = np.array([0, 0, 1, 1])
    assert plug_in(halves, np.array([0, 1, 0, 1])) == VMeasure(0, 0, 0)
    assert plug_in(halves, 1 - halves) == VMeasure(1, 1, 1)
    # Every word has a code of its own: H(code) = 2 bits, I = H(label) = 1 bit, V = 2 x 1 / (2 + 1).
    assert plug_in(np.arange(4), halves) == VMeasure(1, 0.5, pytest.approx(2 / 3))
    assert plug_in(halves, np.arange(4)) == VMeasure(0.5, 1, pytest.approx(2 / 3))


@pytest.mark.parametrize("size", [3, 64, 5_000])
def test_all_are_those_of_scikit_learn_by_words(size: int) -> None:
    rng = np.random.default_rng(size)
    words_N = rng.integers(LABELS, size=2_000) // 2
    codes_N = np.where(rng.random(2_000) < 0.3, rng.integers(size, size=2_000), words_N)
    found = plug_in(codes_N, words_N)
    expected = homogeneity_completeness_v_measure(words_N, codes_N)
    assert (found.homogeneity, found.completeness, found.v) == pytest.approx(expected)
    table = contingency_matrix(words_N, codes_N)
    assert purity(codes_N, words_N) == table.max(0).sum() / 2_000
    assert inverse_purity(codes_N, words_N) == table.max(1).sum() / 2_000


@pytest.mark.parametrize(("size", "by_chance"), [(64, 0.025), (22_000, 0.506)])
def test_independent_codes_agree_by_chance_alone_whatever_the_codebook(size: int, by_chance: float) -> None:
    rng = np.random.default_rng(0)
    codes_N, words_N = rng.integers(size, size=NUM), rng.integers(LABELS, size=NUM)
    found = agree(codes_N, words_N)
    above = found.above_chance
    assert max(map(abs, (above.homogeneity, above.completeness, above.v, found.bits))) < 0.02
    # What would stand there if the shuffled value were not subtracted: scikit-learn's V, and it grows with K.
    plain = homogeneity_completeness_v_measure(words_N, codes_N)[2]
    assert plain == pytest.approx(by_chance, rel=0.1) and above.v + found.by_chance.v == pytest.approx(plain)
    assert found.purity == pytest.approx(found.purity_shuffled, abs=0.02)
    assert found.inverse_purity == pytest.approx(found.inverse_purity_shuffled, abs=0.02)


def test_what_is_subtracted_is_the_mean_v_of_shuffled_codes() -> None:
    rng = np.random.default_rng(3)
    words_N = rng.integers(LABELS, size=300)
    codes_N = np.where(rng.random(300) < 0.5, rng.integers(400, size=300), words_N)
    shuffles = np.random.default_rng(1)
    scores = [homogeneity_completeness_v_measure(words_N, shuffles.permutation(codes_N)) for _ in range(20)]
    found = agreement(codes_N, words_N, codes_N, seed=1).by_chance
    assert (found.homogeneity, found.completeness, found.v) == pytest.approx(np.mean(scores, 0))


def test_codes_that_name_labels_have_all_but_chance() -> None:
    words_N = np.random.default_rng(4).integers(8, size=NUM)
    found = agree(words_N[::-1].copy()[::-1], words_N)
    assert found.purity == found.inverse_purity == 1 and found.purity_shuffled < 0.2
    assert found.above_chance.v == pytest.approx(1, abs=0.01)
    assert found.above_chance.v + found.by_chance.v == pytest.approx(1)


def test_one_code_or_one_label_says_nothing() -> None:
    one_N, words_N = np.zeros(6, int), WORDS
    for found in (agree(one_N, words_N), agree(words_N, one_N), agree(one_N, one_N)):
        assert found.above_chance == VMeasure(0, 0, 0)
