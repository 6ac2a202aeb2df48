"""Compares two scores on one test set by a paired bootstrap over its sentences (Koehn 2004).

The result holds for these two trained models on text like the test set. It does not cover other seeds; `effect.py`
does. `two_models.py` puts it into a claim.

A plain bootstrap of few sentences claims too much: of two, in nearly half of all cases without a difference. So
resampled differences are stretched (`small_sample_stretch`), and while fewer than `MIN_DIFFERENT` sentences differ,
zero stays in the interval. Where none differs, the interval is zero alone, however few they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tune.analysis.permutation import smallest_p

MIN_DIFFERENT = 6
"""Sentences that must differ before zero can lie outside a 95% interval: of 5, all agree in sign by chance in 1/16."""


@dataclass(frozen=True)
class SentenceComparison:
    """Two models' scores on one test set, with the interval and p-value of their difference.

    Attributes:
        a: Score of the first model on all sentences.
        b: Score of the second.
        difference: a - b.
        low: Lower end of the 95% percentile interval of the difference, stretched; -inf for one sentence.
        high: Upper end; inf for one sentence.
        p_value: Two-sided: (hits + 1) / (resamples + 1). A hit is a resampled difference that lies, stretched, at least
            as far from the mean of all resampled ones as `difference` lies from zero. At least what a sign test of
            the sentences that differ can reach.
        num_sentences: Number of sentences in the test set.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    num_sentences: int


def compare_means(
    a: Sequence[float], b: Sequence[float], num_resamples: int = 2000, seed: int = 0
) -> SentenceComparison:
    """Compares two models by a metric that is a mean over sentences (exact match, BLEU-1, cosine).

    Args:
        a: Score of each sentence under the first model.
        b: The same under the second model, sentences in the same order.
        num_resamples: Draws of the whole test set, with replacement.
        seed: Seed of the draws.
    """
    return _compare(np.asarray(a, float)[:, None], np.asarray(b, float)[:, None], _mean_score, num_resamples, seed)


def compare_ratios(
    a: tuple[Sequence[float], Sequence[float]],
    b: tuple[Sequence[float], Sequence[float]],
    num_resamples: int = 2000,
    seed: int = 0,
) -> SentenceComparison:
    """Compares two models by a metric that is a sum over a sum (nats a character, correct tokens a token).

    A resample adds up numerators and denominators, so long sentences count for more, as in the metric itself.

    Args:
        a: Numerator and denominator of each sentence under the first model; denominators positive.
        b: The same under the second model, sentences in the same order.
        num_resamples: Draws of the whole test set, with replacement.
        seed: Seed of the draws.
    """
    sides = [np.column_stack([np.asarray(part, float) for part in side]) for side in (a, b)]
    if any((side[:, 1] <= 0).any() for side in sides):
        raise ValueError("the denominator of each sentence must be more than 0")
    return _compare(sides[0], sides[1], _mean_score, num_resamples, seed)


def compare_bleu(
    a: Sequence[str], b: Sequence[str], references: Sequence[str], num_resamples: int = 1000, seed: int = 0
) -> SentenceComparison:
    """Compares two models by corpus BLEU (sacrebleu's defaults, 0 to 100).

    A resample adds up the n-gram counts of its sentences; it does not average their scores.

    Args:
        a: Sentences decoded by the first model.
        b: Sentences decoded by the second model, in the same order.
        references: One reference a sentence.
        num_resamples: Draws of the whole test set, with replacement.
        seed: Seed of the draws.
    """
    return _compare(_bleu_counts(a, references), _bleu_counts(b, references), _bleu_score, num_resamples, seed)


def _compare(
    a_NF: np.ndarray, b_NF: np.ndarray, score: Callable[[np.ndarray], float], num_resamples: int, seed: int
) -> SentenceComparison:
    """Resamples N sentences with F additive statistics each; `score` also receives the number of sentences, last."""
    num = len(a_NF)
    if num == 0 or a_NF.shape != b_NF.shape:
        raise ValueError(f"{num} and {len(b_NF)} sentences must be equally many and at least one")
    ones = np.ones((num, 1))
    both_NF = np.hstack([a_NF, ones, b_NF, ones])
    width = a_NF.shape[1] + 1
    real_a, real_b = (score(part) for part in np.split(both_NF.sum(0), [width]))
    rng, drawn = np.random.default_rng(seed), np.empty(num_resamples)
    for i in range(num_resamples):
        sums = np.bincount(rng.integers(0, num, num), minlength=num) @ both_NF
        drawn[i] = score(sums[:width]) - score(sums[width:])
    difference, num_different = real_a - real_b, int((a_NF != b_NF).any(axis=1).sum())
    if num == 1:
        return SentenceComparison(real_a, real_b, difference, -math.inf, math.inf, 1.0, num)
    stretch = small_sample_stretch(num)
    hits = int((stretch * np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-12).sum())
    low, high = difference + stretch * (np.quantile(drawn, [0.025, 0.975]) - difference)
    if num_different < MIN_DIFFERENT:
        low, high = min(low, 0.0), max(high, 0.0)
    p_value = max((hits + 1) / (num_resamples + 1), smallest_p(num_different))
    return SentenceComparison(real_a, real_b, difference, float(low), float(high), p_value, num)


def small_sample_stretch(number: int) -> float:
    """Returns what a bootstrap's deviations over so few units must be multiplied by, nearly 1 from some hundred on.

    Resamples of n units vary by (n - 1) / n of what the units do, and their quantiles are a normal distribution's where
    a t distribution's are due. Of two units the quantiles are the units themselves.

    Args:
        number: Units that were resampled, at least two.
    """
    from scipy import stats

    quantile = float(stats.t.ppf(0.975, number - 1))
    if number == 2:
        return quantile
    return math.sqrt(number / (number - 1)) * quantile / float(stats.norm.ppf(0.975))


def _mean_score(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1])


def _bleu_counts(decoded: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Returns per sentence: matches of 1- to 4-grams, decoded n-grams, decoded length, reference length."""
    from sacrebleu.metrics import BLEU

    if len(decoded) != len(references):
        raise ValueError(f"{len(decoded)} decoded sentences and {len(references)} references must be equally many")
    metric = BLEU(effective_order=True)
    scores = (metric.sentence_score(text, [reference]) for text, reference in zip(decoded, references, strict=True))
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], dtype=float)


def _bleu_score(sums: np.ndarray) -> float:
    from sacrebleu.metrics import BLEU

    counts = [int(value) for value in sums]
    score = BLEU.compute_bleu(counts[0:4], counts[4:8], sys_len=counts[8], ref_len=counts[9], smooth_method="exp")
    return float(score.score)
