"""What a promotion prints: the verdict first, then the few numbers that it rests on; MLflow has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from t5vqvae.evaluation.metric import JOINT_RATE, RATE
from t5vqvae.evaluation.metrics import METRICS, common_rate, find, on_test
from tune.promotion.gate import Gate
from tune.spec.judging import Judging

MATCH = "exact_match"


def headline(judging: Judging, metrics: Mapping[str, float], tests: Sequence[str], gates: Sequence[Gate]) -> list[str]:
    """Returns the objectives, the bounds and every test set's exact matches, one line each.

    Args:
        judging: The study's objectives and constraints.
        metrics: The trial's metrics, those of the test sets included.
        tests: The names of the test sets.
        gates: The gates of this promotion.
    """
    wanted = [on_test(objective.metric) for objective in judging.objectives]
    lines = [_quality(key, metrics) for key in wanted if key in metrics]
    bounds = [*map(Gate.of_constraint, judging.constraints), *gates]
    lines += [f"{gate}: {_passed(gate, metrics)}" for gate in bounds]
    matches = [f"{test}/{MATCH}" for test in tests if f"{test}/{MATCH}" in metrics]
    return lines + [_quality(key, metrics) for key in matches if key not in wanted]


def _passed(gate: Gate, metrics: Mapping[str, float]) -> str:
    value = metrics.get(gate.metric)
    verdict = "kept" if gate.refusal(metrics) is None else "NOT KEPT"
    return verdict if value is None else f"{verdict}, it is {value:.4g}"


def _quality(key: str, metrics: Mapping[str, float]) -> str:
    """Returns a metric with its unit and the rate on the same test set: a quality means nothing without it."""
    metric = find(key)
    units = "" if metric is None or key.endswith(MATCH) else f" {metric.units}"
    test, _, name = key.partition("/")
    found = None if name in (RATE, JOINT_RATE) else common_rate(metrics, test=test)
    at = "" if found is None else f" at {metrics[found[0]]:.3g} {METRICS[RATE].units} ({found[1]})"
    return f"{key} = {metrics[key]:.4g}{units}{at}"
