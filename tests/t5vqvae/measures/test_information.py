"""Mutual information less its shuffled value, against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from t5vqvae.measures.counted import entropy_bits, excess_information_bits, information_bits, numbered
from t5vqvae.measures.information import purity

NUM = 10_000
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [64, 1_024, 22_000])
def test_an_independent_code_says_nothing_whatever_the_codebook(size: int) -> None:
    codes_N, words_N = RNG.integers(size, size=NUM), RNG.integers(30, size=NUM)
    assert information_bits(codes_N, words_N) > (0.1 if size > 64 else 0.01), "the plug-in estimate alone is fooled"
    assert abs(excess_information_bits(codes_N, words_N, seed=1)) < 0.02


def test_the_estimate_is_scikit_learn_s() -> None:
    words_N = RNG.integers(30, size=NUM)
    codes_N = np.where(RNG.random(NUM) < 0.3, RNG.integers(50, size=NUM), words_N)
    assert information_bits(codes_N, words_N) == pytest.approx(mutual_info_score(codes_N, words_N) / math.log(2))


def test_a_code_that_names_the_word_says_its_whole_entropy_but_for_the_bias() -> None:
    words_N = RNG.integers(8, size=NUM)
    assert information_bits(words_N, words_N) == pytest.approx(entropy_bits(words_N))
    assert excess_information_bits(words_N, words_N, seed=0) == pytest.approx(3.0, abs=0.01)


def test_purity_by_hand() -> None:
    codes_N, words_N = np.array([0, 0, 0, 1, 1]), numbered(["a", "a", "b", "c", "c"])
    assert purity(codes_N, words_N) == 4 / 5
    assert purity(np.arange(5), words_N) == 1, "every code occurs once: pure by itself, so a control stands next to it"


def test_numbers_follow_the_first_occurrence() -> None:
    assert numbered([(3, 4), (1, 2), (3, 4)]).tolist() == [0, 1, 0]
