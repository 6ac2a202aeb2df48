"""Mutual information less its shuffled value, against closed forms and scikit-learn."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from t5vqvae.data import MathCorpus
from t5vqvae.measures.coded_words import CodedWord, words_of
from t5vqvae.measures.counted import entropy_bits, excess_information_bits, information_bits, numbered
from t5vqvae.measures.information import information

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


def test_numbers_follow_the_first_occurrence() -> None:
    assert numbered([(3, 4), (1, 2), (3, 4)]).tolist() == [0, 1, 0]


FORMULAS = [rf"{a}^{{2}} + \{name}{{({b} )}}" for a in "xyz" for b in "uvw" for name in ("sin", "cos", "log")] * 4


def formulas(code_of: Any) -> list[CodedWord]:
    """The tokens of formulas, with a code for each."""
    found = []
    for number, text in enumerate(FORMULAS):
        spans = [match.span() for match in re.finditer(r"\\[a-z]+|\S|$", text)]
        codes_TQ = np.array([[code_of(text[slice(*span)])] for span in spans])
        found += words_of(number, text, codes_TQ, spans, (), MathCorpus().word_spans)
    return found


def test_the_words_of_mathematics_are_its_tokens_and_some_are_operators() -> None:
    ids: dict[str, int] = {}
    words = formulas(lambda token: ids.setdefault(token, len(ids)))
    assert [word.text for word in words[:7]] == ["x", "^", "{", "2", "}", "+", r"\sin"]
    probed: Any = SimpleNamespace(words=words, seed=0, spec=SimpleNamespace(data=SimpleNamespace(corpus=MathCorpus())))
    named = information(probed).metrics
    assert named["information/operator_purity"] == named["information/purity"] == 1
    # Three of twelve tokens are operators: +, ^, and one of three functions.
    share = [9 / 12, 1 / 12, 1 / 12, *[1 / 36] * 3]
    entropy = -sum(each * math.log2(each) for each in share)
    assert named["information/operator"] == pytest.approx(entropy, abs=0.05)
    blind: Any = SimpleNamespace(**{**vars(probed), "words": formulas(lambda token: 0)})
    nothing = information(blind).metrics
    assert nothing["information/operator"] == pytest.approx(0, abs=1e-9)
    assert nothing["information/operator_purity"] == pytest.approx(9 / 12), "the most frequent value is none"
    assert "information/role_purity" not in named


def test_tokens_that_spell_one_character_are_one_word() -> None:
    """Every byte of a spelt character has the character's place in the text."""
    codes_TQ = np.array([[1], [2], [3], [4]])
    found = words_of(0, "x ≢ y", codes_TQ, [(0, 1), (2, 3), (2, 3), (4, 5)], (), MathCorpus().word_spans)
    assert [(word.text, word.codes) for word in found] == [("x", (1,)), ("≢", (2,)), ("y", (4,))]
