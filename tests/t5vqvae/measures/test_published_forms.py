"""Measures as widely used code computes them, on fixed examples: by how much they differ from ours.

Each form is written anew from its description, with a fault that the code has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from closed_forms import FACTORS, FIRST, NUM, ONE_TO_ONE, SECOND, slots
from sklearn.linear_model import LogisticRegression
from torch import nn

from t5vqvae.measures.disentanglement import compactness, mig, modularity
from t5vqvae.measures.smoothness import Distance, path_of
from t5vqvae.measures.z_diff import z_diff

Array = np.ndarray


# MIG: YannDubs/disentangling-vae, issue 78. The samples of latents, one row a sample, are to be one row a latent; they
# are not transposed but read in the order of memory, so every row has all latents of a part of the samples.


def entropy(values_N: Array) -> float:
    share = np.unique(values_N, return_counts=True)[1] / len(values_N)
    return float(-(share * np.log2(share)).sum())


def shares_of(latents_NL: Array, factors_NF: Array, arranged: Callable[[Array], Array]) -> Array:
    """(H(z) - H(z | v)) / H(v) for every latent and factor, with the samples arranged before each entropy."""

    def entropies(some_NL: Array) -> Array:
        return np.array([entropy(row_N) for row_N in arranged(some_NL)])

    columns = []
    for factor_N in factors_NF.T:
        values, counts = np.unique(factor_N, return_counts=True)
        within = [entropies(latents_NL[factor_N == value]) for value in values]
        known_L = entropies(latents_NL) - np.average(within, axis=0, weights=counts)
        columns.append(known_L / entropy(factor_N))
    return np.stack(columns, 1)


def test_a_view_in_place_of_a_transpose_takes_the_whole_gap_away() -> None:
    latents_NL = np.stack([FIRST, SECOND], 1)
    transposed_LF = shares_of(latents_NL, FACTORS, lambda some_NL: some_NL.T)
    viewed_LF = shares_of(latents_NL, FACTORS, lambda some_NL: some_NL.reshape(some_NL.shape[1], -1))
    assert mig(transposed_LF) == pytest.approx(1, abs=0.01), "one latent a factor"
    # A row has both latents: of 2 bits, 1.55 stay when one of them is known, so each row says .45 of each factor.
    assert viewed_LF == pytest.approx(np.full((2, 2), 0.45 / 2), abs=0.03)
    assert mig(transposed_LF) - mig(viewed_LF) == pytest.approx(1, abs=0.03)


# InfoM and InfoC: kylehkhsu/latent_quantization. In metrics/infomec.py a latent of codes is active if it has two
# different ones; in metrics/mutual_information.py, if the range of its codes' numbers is above an eighth of the largest
# range. 0/0 is NaN: in InfoC of both, and in InfoM of the first.

CODES = np.array([255, 20, 3])
"""The largest number of a code of each latent; the smallest is 0."""
SAID = np.array([[0.9, 0.1], [0.1, 0.7], [0.015, 0.005]])
"""What each latent says of each factor, as published; what the last one says is chance."""
OURS = np.array([[0.9, 0.1], [0.1, 0.7], [0.0, 0.0]])
"""The same here, where shuffled values are subtracted."""


def has_two(ranges_L: Array) -> Array:
    return ranges_L > 0


def has_range(ranges_L: Array) -> Array:
    return ranges_L > ranges_L.max() / 8


def published_infom(said_LF: Array, active_L: Array, skips: bool = False) -> float:
    """InfoM; `skips`: latents with 0/0 are left out."""
    with np.errstate(invalid="ignore"):
        ratio_L = said_LF[active_L].max(1) / said_LF[active_L].sum(1)
    even = 1 / said_LF.shape[1]
    return float(((np.nanmean if skips else np.mean)(ratio_L) - even) / (1 - even))


def published_infoc(said_LF: Array, active_L: Array) -> float:
    with np.errstate(invalid="ignore"):
        ratio_F = said_LF[active_L].max(0) / said_LF[active_L].sum(0)
        even = 1 / active_L.sum()
        return float((np.mean(ratio_F) - even) / (1 - even))


def test_the_two_files_find_other_latents_active_than_each_other_and_than_here() -> None:
    infom, infoc = modularity(OURS), compactness(OURS)
    assert infom == pytest.approx(((0.9 + 7 / 8) / 2 - 1 / 2) * 2), "two latents count"
    by_two, by_range = (published_infom(SAID, rule(CODES)) for rule in (has_two, has_range))
    assert by_two == pytest.approx(infom - 0.092, abs=0.001), "the last latent counts for a third"
    assert by_range == pytest.approx(infom + 0.025, abs=0.001), "the first latent alone counts"
    renumbered = np.array([255, 255, 255])
    assert published_infom(SAID, has_range(renumbered)) == by_two, "the same codes with other numbers"
    assert infoc == pytest.approx(((0.9 + 7 / 8) / 2 - 1 / 3) * 3 / 2)
    assert published_infoc(SAID, has_two(CODES)) == pytest.approx(infoc - 0.014, abs=0.001)
    assert np.isnan(published_infoc(SAID, has_range(CODES))), "with one active latent there is no even share"


def test_nothing_said_is_left_out_here_and_no_number_there() -> None:
    one_to_one = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert modularity(one_to_one) == 1
    assert np.isnan(published_infom(one_to_one, has_two(CODES)))
    assert published_infom(one_to_one, has_range(np.array([255, 255, 255])), skips=True) == 1
    unsaid = np.array([[0.8, 0.0], [0.2, 0.0], [0.0, 0.0]])
    assert compactness(unsaid) == pytest.approx((0.8 - 1 / 3) / (2 / 3))
    for rule in (has_two, has_range):
        assert np.isnan(published_infoc(unsaid, rule(CODES)))


# z-diff: LangSpace has 50 points a factor: 40 to fit on, of which 8 are held out, and 10 to judge by. The linear model
# takes 10 epochs of Adam with a rate of .01 in batches of 64, and the accuracy is the mean of ten such models.


def points(latents_NL: Array, factor_N: Array, rng: np.random.Generator) -> Array:
    """Mean differences of up to 64 pairs of sentences that share a value, for 50 drawn values."""
    found = []
    for value in rng.choice(factor_N, 50):
        alike = np.flatnonzero(factor_N == value)
        first, second = (rng.choice(alike, min(64, len(alike)), replace=False) for _ in range(2))
        found.append((latents_NL[first] != latents_NL[second]).mean(0))
    return np.stack(found)


def barely_fitted(latents_NL: Array, seed: int) -> float:
    rng, count = np.random.default_rng(seed), FACTORS.shape[1]
    torch.manual_seed(seed)
    order = rng.permutation(50 * count)
    found_PL = np.concatenate([points(latents_NL, factor_N, rng) for factor_N in FACTORS.T])[order]
    points_PL, names_P = torch.from_numpy(found_PL).float(), torch.arange(count).repeat_interleave(50)[order]
    end = int(0.8 * len(order))
    right = []
    for _ in range(10):
        model = nn.Linear(points_PL.shape[1], count)
        nn.init.xavier_uniform_(model.weight)
        nn.init.zeros_(model.bias)
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(10):
            for rows in torch.randperm(int(0.8 * end)).split(64):
                adam.zero_grad()
                nn.functional.cross_entropy(model(points_PL[rows]), names_P[rows]).backward()
                adam.step()
        right.append(float((model(points_PL[end:]).argmax(-1) == names_P[end:]).float().mean()))
    return sum(right) / len(right)


def fitted_on_forty(latents_NL: Array, seed: int) -> float:
    """The accuracy with as few points, of a model that is fitted to the end."""
    rng = np.random.default_rng(seed)
    parts = [points(latents_NL, factor_N, rng) for factor_N in FACTORS.T]
    fit_PL, judge_PL = (np.concatenate([each[some] for each in parts]) for some in (slice(40), slice(40, None)))
    mean_L, spread_L = fit_PL.mean(0), fit_PL.std(0)
    names = np.arange(len(parts))
    model = LogisticRegression(max_iter=1000).fit((fit_PL - mean_L) / spread_L, names.repeat(40))
    return float((model.predict((judge_PL - mean_L) / spread_L) == names.repeat(10)).mean())


def test_a_linear_model_of_ten_steps_is_near_chance_on_latents_that_name_factors() -> None:
    latents_NL = np.stack(ONE_TO_ONE.parts, 1)
    published = [barely_fitted(latents_NL, seed) for seed in range(5)]
    assert z_diff(ONE_TO_ONE, seed=0) > 0.99
    assert np.mean(published) == pytest.approx(1 / 2, abs=0.15)
    assert max(published) < 0.9


def test_the_accuracy_of_fifty_points_a_factor_hangs_on_their_draw() -> None:
    rng = np.random.default_rng(5)
    weak = [np.where(rng.random(NUM) < 0.25, factor, rng.integers(4, size=NUM)) for factor in (FIRST, SECOND)]
    noisy = slots(*weak, *rng.integers(4, size=(10, NUM)))
    ours = [z_diff(noisy, seed) for seed in range(5)]
    few = [fitted_on_forty(np.stack(noisy.parts, 1), seed) for seed in range(20)]
    assert np.std(ours) < 0.03 and np.std(few) > 0.07
    assert max(few) - min(few) > 0.3, "from near chance to near one, by the draw of the points"


# Smoothness: Word Mover's Distance of gensim took word vectors as they are before version 4, and at unit length since.


def smoothness(words: Sequence[Array]) -> float:
    """IS of a path of one-word sentences, whose distances are those of their vectors."""
    steps = [float(np.linalg.norm(a - b)) for a, b in itertools.pairwise(words)]
    return float(np.linalg.norm(words[0] - words[-1])) / sum(steps)


def test_raw_vectors_let_the_length_of_a_word_on_the_way_decide() -> None:
    ends = np.array([1.0, 0.0]), np.array([-1.0, 0.0])
    ours = path_of(["right", "up", "left"], Distance({"right": ends[0], "up": np.array([0.0, 1.0]), "left": ends[1]}))
    assert ours.smoothness == pytest.approx(np.sqrt(1 / 2)), "a quarter of the circle twice, for half of it"
    for length, published in ((4.0, 0.243), (1.0, 0.707), (0.05, 0.999)):
        word = np.array([0.0, length])
        assert smoothness([ends[0], word, ends[1]]) == pytest.approx(published, abs=0.001)
        assert smoothness([ends[0], word / length, ends[1]]) == pytest.approx(ours.smoothness)


def test_raw_vectors_turn_the_order_of_two_paths_round() -> None:
    long, short = 3 * np.array([0.8, 0.6]), np.array([0.1, -0.995]) / 20
    ends = np.array([1.0, 0.0]), np.array([-1.0, 0.0])
    by_long, by_short = ([ends[0], word, ends[1]] for word in (long, short))
    raw = smoothness(by_long), smoothness(by_short)
    unit = tuple(smoothness([word / np.linalg.norm(word) for word in path]) for path in (by_long, by_short))
    assert unit == pytest.approx((0.791, 0.708), abs=0.002), "the first path is smoother"
    assert raw == pytest.approx((0.326, 0.999), abs=0.002), "the second one is"
