"""Measures a model out of distribution: on the twins of test sets while it trains, on those test sets at its end.

A promotion measures it on sets that are drawn for it as the test sets are drawn.
Every set counts alike, however long its sentences are, so the mean over the sets is taken of each set's own value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext

from t5vqvae.data import TokenizedSplit
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec

TWINS, TESTS, GATE = "validation_ood", "test_ood", "gate_ood"
MEASURED = ("nll_per_char", "exact_match")
"""What is averaged over the sets."""


def evaluate_twins(
    model: TextAutoencoder,
    twins: Mapping[str, TokenizedSplit],
    spec: RunSpec,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, float]:
    """Returns the means over the validation sets that are out of distribution, each measured as the validation split.

    Args:
        model: A model with its tokenizer.
        twins: The sets, by the name of the test set that each is a twin of; none gives no metric.
        spec: The run.
        autocast: Returns the context of the precision.
    """
    if not twins:
        return {}
    plain = spec.with_overrides({"evaluate.unsent": None})
    found: dict[str, float] = {}
    for name, split in twins.items():
        metrics = evaluate(model, split, plain, prefix=name, autocast=autocast()).metrics
        found |= {key: value for key, value in metrics.items() if key.startswith(f"{name}/")}
    return mean_over(found, twins, TWINS)


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
