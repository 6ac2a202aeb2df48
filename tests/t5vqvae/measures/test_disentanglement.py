"""Disentanglement of closed-form latents: one to one, entangled, duplicated, independent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.latent.sentence import Sentence
from t5vqvae.measures.counted import entropy_bits, excess_information_bits
from t5vqvae.measures.disentanglement import compactness, mig, modularity, shares
from t5vqvae.measures.slots import factors_of_parts, roles_of_parts

NUM = 4_000
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(NUM, 2))
NOISE = RNG.integers(64, size=NUM)


def found(*latents: np.ndarray) -> np.ndarray:
    return shares(np.stack(latents, 1), FACTORS)


def test_codes_that_name_one_factor_each_have_one() -> None:
    one_to_one = found(FACTORS[:, 0], FACTORS[:, 1])
    assert one_to_one == pytest.approx(np.eye(2), abs=0.01)
    assert mig(one_to_one) == pytest.approx(1, abs=0.01)
    assert modularity(one_to_one) == pytest.approx(1, abs=0.02)
    assert compactness(one_to_one) == pytest.approx(1, abs=0.02)


def test_a_code_that_names_both_factors_is_compact_and_not_modular() -> None:
    both = found(FACTORS[:, 0] * 4 + FACTORS[:, 1], NOISE)
    assert modularity(both) == pytest.approx(0, abs=0.02), "the other code says nothing, so it does not count"
    assert compactness(both) == pytest.approx(1, abs=0.03) and mig(both) == pytest.approx(1, abs=0.02)


def test_two_codes_of_the_same_factor_are_modular_and_not_compact() -> None:
    twice = found(FACTORS[:, 0], FACTORS[:, 0])
    assert modularity(twice) == pytest.approx(1, abs=0.02)
    assert compactness(twice) == pytest.approx(0, abs=0.02) and mig(twice) == pytest.approx(0, abs=0.02)


def test_independent_codes_say_nothing_however_many_they_are() -> None:
    for size in (64, 22_000):
        nothing = found(RNG.integers(size, size=NUM), RNG.integers(size, size=NUM))
        assert nothing.max() < 0.02 and mig(nothing) < 0.02
        assert modularity(nothing) is None and compactness(nothing) is None


@pytest.mark.parametrize("size", [4, 64, 1_024, 22_000])
@pytest.mark.parametrize("sentences", [110, 220])
def test_independent_codes_say_nothing_in_few_sentences(sentences: int, size: int) -> None:
    # The difference of entropy and chance is small there, so a quotient of both would multiply the noise.
    rng = np.random.default_rng([sentences, size])
    factors_NF = np.stack([rng.integers(values, size=sentences) for values in (30, 30, 9, 2)], 1)
    nothing_LF = shares(rng.integers(size, size=(sentences, 4)), factors_NF)
    assert not nothing_LF.any() and modularity(nothing_LF) is None and compactness(nothing_LF) is None


def test_a_rare_value_that_a_code_names_is_said() -> None:
    rare_N = (RNG.random(NUM) < 0.01).astype(np.int64)
    assert shares(np.stack([rare_N, NOISE], 1), rare_N[:, None])[:, 0] == pytest.approx([1, 0], abs=1e-6)


def test_the_share_of_the_plain_quotient_is_less_than_one_where_chance_is_high() -> None:
    rng = np.random.default_rng(0)
    filler_N = rng.integers(30, size=220)
    less_chance = excess_information_bits(filler_N, filler_N, 0) / entropy_bits(filler_N)
    assert less_chance == pytest.approx(0.56, abs=0.02)
    assert shares(filler_N[:, None], filler_N[:, None]) == pytest.approx(np.ones((1, 1)))


def test_half_a_factor_by_hand() -> None:
    # The code says whether the factor is below 2: one of its two bits.
    assert found(FACTORS[:, 0] // 2, NOISE)[0, 0] == pytest.approx(0.5, abs=0.02)


def test_few_sentences_of_many_fillers_still_have_one() -> None:
    fillers_NF = np.stack([RNG.integers(30, size=200), RNG.integers(30, size=200)], 1)
    one_to_one = shares(fillers_NF, fillers_NF)
    assert np.diag(one_to_one) == pytest.approx(1) and one_to_one[0, 1] < 0.1


def test_parts_of_expressions_are_roles_and_factors() -> None:
    corpus, text = MathCorpus(), r"a - c + \cos{(b )}"
    parts = corpus.parts_of(text)
    assert parts is not None
    assert factors_of_parts(text, parts) == {
        "template": "<letter 1> <sign 1> <letter 2> <sign 2> <function 1>{(<letter 3> )}",
        "letter 1": "a", "sign 1": "-", "letter 2": "c", "sign 2": "+", "function 1": r"\cos", "letter 3": "b",
    }  # fmt: skip
    spans = (*corpus.word_spans(text), (len(text), len(text)))
    sentence = Sentence(text, spans, torch.zeros(len(spans), 1), None, None)
    roles = roles_of_parts(sentence, parts)
    assert [role for role in roles if role != "none"] == list(parts)
    assert roles[0] == "letter 1" and roles[-1] == "none"
    assert corpus.parts_of("a +") is None and factors_of_parts("a +", {}) is None
