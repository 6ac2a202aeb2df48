"""DCI of closed-form latents, of matrices worked by hand, and against the impurity of published code."""

from __future__ import annotations

import numpy as np
import pytest
from closed_forms import ENTANGLED, FIRST, INDEPENDENT, NUM, ONE_TO_ONE, RNG, TWICE, slots
from sklearn.ensemble import RandomForestClassifier

from t5vqvae.measures.dci import completeness, disentanglement, read
from t5vqvae.measures.slots import Slots


def test_one_to_one_latents_have_one_whatever_their_numbers_mean() -> None:
    found = read(ONE_TO_ONE, seed=0)
    found_LF, accuracy = found.importances_LF, found.accuracy
    assert max(found_LF[0, 1], found_LF[1, 0]) < 0.01 and accuracy == 1
    assert disentanglement(found_LF) == pytest.approx(1, abs=0.02)
    assert completeness(found_LF) == pytest.approx(1, abs=0.02)


def test_a_latent_that_says_both_factors_is_complete_and_not_disentangled() -> None:
    found = read(ENTANGLED, seed=0)
    found_LF, accuracy = found.importances_LF, found.accuracy
    assert disentanglement(found_LF) == pytest.approx(0, abs=0.15), "the latent of noise has no weight"
    assert completeness(found_LF) > 0.95 and accuracy > 0.8


def test_two_latents_of_the_same_factor_are_disentangled_and_not_complete() -> None:
    found = read(TWICE, seed=0)
    found_LF, accuracy = found.importances_LF, found.accuracy
    assert disentanglement(found_LF) > 0.98 and completeness(found_LF) < 0.1
    assert accuracy == pytest.approx((1 + 1 / 4) / 2, abs=0.06), "the second factor is guessed"


def test_independent_and_shuffled_latents_have_chance_and_no_value() -> None:
    for nothing in (INDEPENDENT, ONE_TO_ONE.shuffled(seed=0)):
        found = read(nothing, seed=0)
        assert found.accuracy == pytest.approx(1 / 4, abs=0.06) == found.accuracy_shuffled
        assert found.importances_LF.sum() < 0.1, "of 4 at most"
    assert disentanglement(np.zeros((2, 2))) is None and completeness(np.zeros((2, 2))) is None


def test_by_hand() -> None:
    # Latent 0 says both factors equally, latent 1 the second alone: 1 - H = 0 and 1, weights 2/3 and 1/3.
    matrix_LF = np.array([[0.4, 0.4], [0.0, 0.4]])
    assert disentanglement(matrix_LF) == pytest.approx(1 / 3)
    # Factor 0 is in one latent, factor 1 evenly in two: 1 and 0, weights 1/3 and 2/3.
    assert completeness(matrix_LF) == pytest.approx(1 / 3)


def test_an_unweighted_mean_counts_latents_that_say_nothing() -> None:
    matrix_LF = np.array([[0.9, 0.0], [0.03, 0.03], [0.03, 0.03]])
    share_LF = matrix_LF / matrix_LF.sum(1, keepdims=True)
    logs_LF = np.log2(np.where(share_LF > 0, share_LF, 1))
    unweighted = float((1 + (share_LF * logs_LF).sum(1)).mean())
    assert unweighted == pytest.approx(1 / 3)
    assert disentanglement(matrix_LF) == pytest.approx(0.9 / 1.02), "nine tenths of what is said is said by one latent"


def test_impurity_says_a_latent_of_noise_is_important() -> None:
    # The latent says half of a factor of two values; the noise takes 300 values.
    unsure = np.where(RNG.random(NUM) < 0.3, RNG.integers(2, size=NUM), FIRST // 2)
    half = slots(unsure, RNG.integers(300, size=NUM), factors=np.stack([FIRST // 2, RNG.integers(2, size=NUM)], 1))
    ours_LF = read(half, seed=0).importances_LF
    forest = RandomForestClassifier(50, max_depth=8, random_state=0)
    published_L = forest.fit(np.concatenate(half.ordered, 1), FIRST // 2).feature_importances_
    assert ours_LF[1, 0] / ours_LF[:, 0].sum() < 0.05
    assert published_L[1] > 0.2


def test_a_redundant_latent_of_the_sentence_keeps_its_importance() -> None:
    noisy = [FIRST[:, None] + RNG.normal(size=(NUM, 1)) for _ in range(6)]
    redundant = slots(*noisy, factors=np.stack([FIRST, RNG.integers(4, size=NUM)], 1))
    found = read(redundant, seed=0)
    assert (found.importances_LF[:, 0] > 0.02).all() and completeness(found.importances_LF) < 0.2


def noise(rng: np.random.Generator, *values: int, number: int, latents: int) -> Slots:
    """Latents of 64 codes that say nothing about factors of so many values, the first value the commonest."""
    shares = [np.array([0.8, *[0.2 / (size - 1)] * (size - 1)]) for size in values]
    factors = [rng.choice(size, p=share, size=number) for size, share in zip(values, shares, strict=True)]
    return slots(*rng.integers(64, size=(latents, number)), factors=np.stack(factors, 1))


def test_noise_has_no_value_where_few_sentences_are_judged() -> None:
    """Against shuffled latents alone, a forest that overfits beats itself by luck, and D and C are 1 for that luck."""
    by_luck = [read(noise(np.random.default_rng(seed), 2, 2, number=220, latents=4), seed) for seed in range(6)]
    assert sum(found.accuracy > found.accuracy_shuffled for found in by_luck) > 1
    assert [disentanglement(found.importances_LF) for found in by_luck] == [None] * 6
