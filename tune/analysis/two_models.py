"""Compares given models by their sentences, and settings by their seeds and sentences.

Whether one *model* is better than another is a question about two artifacts, and its population is text like the test
set: sentences are resampled, both models' together (`compare_models`). Whether one *setting* is better is a question
about training with it, and its population is seeds as well: seeds are resampled, then sentences (`compare_settings`).
A model may well be better while its setting is not: then its seed was lucky.

Letters: S seeds, N sentences, F sums of a metric: numerator and denominator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from t5vqvae.evaluation.metric import Direction
from tune.analysis.bootstrap import (
    MIN_DIFFERENT,
    SentenceComparison,
    compare_bleu,
    compare_ratios,
    small_sample_stretch,
)

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class SentenceScores:
    """A model's scores on each sentence of a test set, for a metric that is a sum over a sum.

    Attributes:
        artifact: What was scored, so that a claim can name it: a registered version or the digest of a checkpoint.
        data: Fingerprint of the test set; the order of its sentences is part of it.
        amounts: Numerator of each sentence: nats, correct tokens, exact matches.
        weights: Denominator of each sentence: tokens, characters; empty: 1 each.
    """

    artifact: str
    data: str
    amounts: Sequence[float]
    weights: Sequence[float] = ()

    @property
    def sums_NF(self) -> np.ndarray:
        """Numerator and denominator of each sentence."""
        amounts = np.asarray(self.amounts, float)
        return np.column_stack(
            [amounts, np.asarray(self.weights, float) if len(self.weights) else np.ones_like(amounts)]
        )


@dataclass(frozen=True)
class SentenceTexts:
    """A model's decoded sentences of a test set, for corpus BLEU.

    Attributes:
        artifact: As in `SentenceScores`.
        data: As in `SentenceScores`.
        decoded: What the model decoded.
        references: What it should have decoded, one a sentence.
    """

    artifact: str
    data: str
    decoded: Sequence[str]
    references: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class ModelComparison:
    """The comparison of two artifacts on one test set.

    Attributes:
        a: The artifact that is compared.
        b: The artifact that it is compared with.
        data: Fingerprint of the test set.
        metric: Name of the metric.
        verdict: Whether `a` is better or worse than `b`; a claim needs the p-value and the interval.
        scores: Scores, difference, interval and p-value.
    """

    a: str
    b: str
    data: str
    metric: str
    verdict: Verdict
    scores: SentenceComparison

    @property
    def sentence(self) -> str:
        """The claim in a sentence, which names the artifacts and the population."""
        words = {"better": "is better than", "worse": "is worse than", "undecided": "is not shown to differ from"}
        found = self.scores
        return (
            f"{self.a} {words[self.verdict]} {self.b}: {self.metric} {found.a:.4g} against {found.b:.4g}, difference"
            f" {found.difference:+.3g} [{found.low:+.3g}, {found.high:+.3g}], p = {found.p_value:.3g}; these two"
            f" models, on text like the {found.num_sentences} sentences of test set {self.data[:12]};"
            " other seeds were not drawn"
        )


def compare_models(
    a: SentenceScores | SentenceTexts,
    b: SentenceScores | SentenceTexts,
    metric: str,
    direction: Direction,
    *,
    alpha: float = 0.05,
    num_resamples: int = 2000,
    seed: int = 0,
) -> ModelComparison:
    """Compares two given models by a paired bootstrap over the sentences of one test set.

    The claim is about these two artifacts, on text of which the test set is a sample. Sentences are taken as
    independent; where they come from few documents, the interval is too narrow. It says nothing about the settings that
    the models were trained with: another seed may turn it around.

    Args:
        a: The model that may become the better one.
        b: The model that it is compared with.
        metric: Name of the metric, for the claim.
        direction: Whether lower or higher values are better.
        alpha: Chance of a false claim, at most .05, because the interval is one of 95%.
        num_resamples: Draws of the whole test set.
        seed: Seed of the draws.

    Raises:
        ValueError: If the two were scored on different sentences, or one by texts and the other by numbers.
    """
    _refuse_other_sentences([a, b])
    if isinstance(a, SentenceTexts) and isinstance(b, SentenceTexts):
        if list(a.references) != list(b.references):
            raise ValueError(f"{a.artifact} and {b.artifact} were decoded against different references")
        found = compare_bleu(a.decoded, b.decoded, a.references, num_resamples, seed)
    elif isinstance(a, SentenceScores) and isinstance(b, SentenceScores):
        sides = [(side.sums_NF[:, 0], side.sums_NF[:, 1]) for side in (a, b)]
        found = compare_ratios(sides[0], sides[1], num_resamples, seed)  # type: ignore[arg-type]
    else:
        raise ValueError(f"{a.artifact} and {b.artifact} must both have scores or both have texts")
    claimed = found.p_value <= alpha and not found.low <= 0 <= found.high
    return ModelComparison(
        a.artifact, b.artifact, a.data, metric, _verdict(claimed, found.difference, direction), found
    )


@dataclass(frozen=True)
class SettingsComparison:
    """The comparison of two settings over seeds and sentences.

    Attributes:
        a: Mean score over seeds with the first setting.
        b: The same with the second.
        difference: Mean over seeds of the first less the second setting.
        low: Lower end of the 95% interval.
        high: Upper end.
        num_seeds: Number of seeds.
        num_sentences: Number of sentences.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    num_seeds: int
    num_sentences: int

    def verdict(self, direction: Direction) -> Verdict:
        """Returns whether the first setting is better or worse; a claim needs an interval without zero."""
        return _verdict(not self.low <= 0 <= self.high, self.difference, direction)


def compare_settings(
    pairs: Mapping[int, tuple[SentenceScores, SentenceScores]], *, num_resamples: int = 2000, seed: int = 0
) -> SettingsComparison:
    """Compares two settings: resamples their seeds, then the sentences, which all seeds share.

    The population is training with other seeds, tested on text like the test set. Few seeds resampled vary too little,
    so distances from the mean are stretched (`small_sample_stretch`), and so do few
    sentences: fewer than `MIN_DIFFERENT` that differ leave zero in the interval.

    Args:
        pairs: `{seed: (scores with the first setting, scores with the second)}`, at least two seeds.
        num_resamples: Draws of seeds and sentences.
        seed: Seed of the draws.

    Raises:
        ValueError: If there are fewer than two seeds, or scores are of different sentences.
    """
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} seeds say nothing about other seeds; compare_models compares two models")
    _refuse_other_sentences([side for pair in pairs.values() for side in pair])
    a_SNF, b_SNF = (np.stack([pair[i].sums_NF for pair in pairs.values()]) for i in (0, 1))
    num_seeds, num = a_SNF.shape[:2]
    rng, drawn = np.random.default_rng(seed), np.empty(num_resamples)
    for i in range(num_resamples):
        times_N = np.bincount(rng.integers(0, num, num), minlength=num)
        drawn[i] = _differences(a_SNF, b_SNF, times_N)[rng.integers(0, num_seeds, num_seeds)].mean()
    mean_a, mean_b = (float(_scores(side, np.ones(num)).mean()) for side in (a_SNF, b_SNF))
    mean = mean_a - mean_b
    if num == 1:
        return SettingsComparison(mean_a, mean_b, mean, -math.inf, math.inf, num_seeds, num)
    stretch = max(small_sample_stretch(num_seeds), small_sample_stretch(num))
    low, high = mean + stretch * (np.quantile(drawn, [0.025, 0.975]) - mean)
    if (a_SNF != b_SNF).any(axis=(0, 2)).sum() < MIN_DIFFERENT:
        low, high = min(low, 0.0), max(high, 0.0)
    return SettingsComparison(mean_a, mean_b, mean, float(low), float(high), num_seeds, num)


def _differences(a_SNF: np.ndarray, b_SNF: np.ndarray, times_N: np.ndarray) -> np.ndarray:
    """Returns each seed's difference where every sentence counts so many times."""
    return _scores(a_SNF, times_N) - _scores(b_SNF, times_N)


def _scores(side_SNF: np.ndarray, times_N: np.ndarray) -> np.ndarray:
    """Returns each seed's score where every sentence counts so many times."""
    sums_SF = np.einsum("n,snf->sf", times_N, side_SNF)
    return sums_SF[:, 0] / sums_SF[:, 1]


def _verdict(claimed: bool, difference: float, direction: Direction) -> Verdict:
    if not claimed:
        return "undecided"
    return "better" if (difference > 0) == (direction == "maximize") else "worse"


def _refuse_other_sentences(sides: Sequence[SentenceScores | SentenceTexts]) -> None:
    first = sides[0]
    for other in sides[1:]:
        nums = [len(s.amounts) if isinstance(s, SentenceScores) else len(s.decoded) for s in (first, other)]
        if first.data != other.data or nums[0] != nums[1]:
            raise ValueError(
                f"{first.artifact} was scored on {nums[0]} sentences of test set {first.data}, {other.artifact} on"
                f" {nums[1]} of {other.data}; score both on the same"
            )
