"""The chain gives the probabilities of `prior.py`, draws what it gives, and ends sentences."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from spelling_model import codes

from t5vqvae.errors import DataError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.prior import CodeSequences, cross_entropy_bits
from t5vqvae.latent.sampling import CodeChain, draw

Ints = npt.NDArray[np.int64]
K = 16


def cycles(number: int, seed: int, right: float = 0.9) -> list[Ints]:
    """Sentences of ten positions; with probability `right` a code is the one before plus 1, else any."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        row = [int(rng.integers(K))]
        while len(row) < 10:
            row.append((row[-1] + 1) % K if rng.random() < right else int(rng.integers(K)))
        found.append(np.array(row)[:, None])
    return found


def with_end(sentences: list[Ints], ends: list[int]) -> CodeSequences:
    return CodeSequences.of([np.concatenate([each, np.array([ends])]) for each in sentences])


@pytest.mark.parametrize("num_codes", [1, 2])
@pytest.mark.parametrize("num_before", [0, 2])
def test_its_probabilities_are_those_of_the_rate(num_codes: int, num_before: int) -> None:
    counted, scored = ([np.repeat(each, num_codes, 1) for each in cycles(60, seed)] for seed in (0, 1))
    chain = CodeChain(counted, [K] * num_codes, num_before)
    ends, sizes = [K] * num_codes, [K + 1] * num_codes
    expected = cross_entropy_bits(with_end(counted, ends), with_end(scored, ends), sizes, num_before)
    rows = [[*map(tuple, each.tolist()), tuple(ends)] for each in scored]
    bits = sum(chain.bits(row) for row in rows) / sum(map(len, rows))
    assert bits == pytest.approx(expected, rel=1e-9)


def test_probabilities_of_a_context_sum_to_one() -> None:
    chain = CodeChain(cycles(30, 0), [K])
    for before in ([], [(3,)], [(3,), (4,)], [(9,), (2,), (15,)]):
        assert sum(chain.probability(code, (), before) for code in range(K + 1)) == pytest.approx(1)


def test_a_sequence_that_follows_in_nine_of_ten_is_followed_about_so_often() -> None:
    chain, rng = CodeChain(cycles(2_000, 0), [K]), random.Random(0)
    samples = [chain.sample(rng) for _ in range(400)]
    pairs = [(a[0], b[0]) for each in samples for a, b in zip(each.codes, each.codes[1:], strict=False)]
    assert len(pairs) > 1500
    share = sum(b == (a + 1) % K for a, b in pairs) / len(pairs)
    assert share == pytest.approx(0.9 + 0.1 / K, abs=0.02)


def test_draws_have_the_probabilities_of_the_chain() -> None:
    chain, rng, before = CodeChain(cycles(40, 0, right=0.5), [K]), random.Random(1), [(3,), (4,)]
    drawn = Counter(chain._draw(rng, (), before) for _ in range(20_000))
    for code in range(K + 1):
        p = chain.probability(code, (), before)
        assert drawn[code] / 20_000 == pytest.approx(p, abs=5 * math.sqrt(p / 20_000) + 1e-4)


def test_sentences_end_where_training_sentences_end() -> None:
    chain, rng = CodeChain([np.array([[0], [1], [2]])] * 200, [K]), random.Random(0)
    samples = [chain.sample(rng) for _ in range(50)]
    assert Counter(each.codes for each in samples)[((0,), (1,), (2,))] >= 48
    assert all(each.ended for each in samples if len(each.codes) == 3), "also at the longest length"
    cut = chain.sample(rng, longest=2)
    assert not cut.ended and len(cut.codes) == 2


def test_a_draw_decodes_and_is_seeded(space: LatentSpace, vectors_only: LatentSpace) -> None:
    counted = space.encode(["a bat eats honey"] * 50)
    drawn = draw(space, counted, 5)
    assert drawn == draw(space, counted, 5)
    sample, text = drawn[0]
    assert text == "a bat eats honey" and [row[0] for row in sample.codes] == codes(text) and 0 < sample.bits < 2
    with pytest.raises(DataError, match="needs the codes"):
        draw(space, [], 1)
    with pytest.raises(DataError, match="quantizer none has no codes; the prior needs them"):
        draw(vectors_only, counted, 1)
