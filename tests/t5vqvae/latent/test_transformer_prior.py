"""The Transformer prior learns a known process to its entropy, and draws what it has learnt."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from t5vqvae.latent.transformer_prior import TransformerPrior

Ints = npt.NDArray[np.int64]
K, LENGTH = 8, 6


def cycles(number: int, seed: int, num_codes: int = 1) -> list[Ints]:
    """Sentences in which a code is the one before plus 1 in nine of ten positions; codebooks repeat each other."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        row = [int(rng.integers(K))]
        while len(row) < LENGTH:
            row.append((row[-1] + 1) % K if rng.random() < 0.9 else int(rng.integers(K)))
        found.append(np.repeat(np.array(row)[:, None], num_codes, 1))
    return found


@pytest.fixture(scope="module", params=[1, 2])
def prior(request: pytest.FixtureRequest) -> TransformerPrior:
    return TransformerPrior.fit(cycles(2_000, 0, request.param), [K] * request.param)


def test_its_bits_come_near_the_entropy(prior: TransformerPrior) -> None:
    right = 0.9 + 0.1 / K
    follows = -right * math.log2(right) - (K - 1) * (0.1 / K) * math.log2(0.1 / K)
    expected = math.log2(K) + (LENGTH - 1) * follows  # the end is certain, the second codebook too
    bits = prior.bits(cycles(300, 1, len(prior.code_sizes)))
    assert expected - 0.5 < sum(bits) / len(bits) < expected + 1.0


def test_its_draws_follow_and_end_as_training_does(prior: TransformerPrior) -> None:
    samples = prior.sample(300)
    pairs = [(a[0], b[0]) for each in samples for a, b in zip(each.codes, each.codes[1:], strict=False)]
    assert sum(b == (a + 1) % K for a, b in pairs) / len(pairs) == pytest.approx(0.91, abs=0.05)
    assert sum(len(each.codes) == LENGTH for each in samples) > 290
    assert all(0 <= code < K for each in samples for row in each.codes for code in row)
    assert all(len(row) == len(prior.code_sizes) for each in samples for row in each.codes)
    assert samples == prior.sample(300)
    bits = prior.bits([np.array(each.codes) for each in samples[:20]])
    assert [each.bits for each in samples[:20]] == pytest.approx(bits, abs=1e-3)
