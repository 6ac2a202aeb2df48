"""Measures a model out of distribution: on the twins of test sets while it trains, on those test sets at its end.

Every set counts alike, however long its sentences are, so the mean over the sets is taken of each set's own value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from t5vqvae.data import TokenizedSplit

TWINS, TESTS = "validation_ood", "test_ood"
MEASURED = ("nll_per_char", "exact_match")
"""What is averaged over the sets."""


def twin_metrics(
    twins: Mapping[str, TokenizedSplit], measure: Callable[[TokenizedSplit, str], Mapping[str, float]]
) -> dict[str, float]:
    """Returns the means over the validation sets that are out of distribution; none without such sets.

    Args:
        twins: The sets, by the name of the test set that each is a twin of.
        measure: Returns the metrics of a set under a prefix.
    """
    found = {f"{name}/{key}": value for name, split in twins.items() for key, value in _own(measure, name, split)}
    return mean_over(found, twins, TWINS)


def _own(
    measure: Callable[[TokenizedSplit, str], Mapping[str, float]], name: str, split: TokenizedSplit
) -> list[tuple[str, float]]:
    metrics = measure(split, name)
    return [(key, metrics[f"{name}/{key}"]) for key in MEASURED if f"{name}/{key}" in metrics]


def mean_over(metrics: Mapping[str, float], sets: Collection[str], prefix: str) -> dict[str, float]:
    """Returns the mean of each metric over the sets, where all of them have it.

    Args:
        metrics: `set/metric` to value.
        sets: Names of the sets.
        prefix: First part of the keys of the means.
    """
    found = {key: [metrics.get(f"{name}/{key}") for name in sets] for key in MEASURED}
    whole = {key: [v for v in values if v is not None] for key, values in found.items()}
    return {f"{prefix}/{key}": sum(v) / len(v) for key, v in whole.items() if v and len(v) == len(sets)}
