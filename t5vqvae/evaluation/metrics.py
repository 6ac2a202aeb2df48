"""Lists every metric of the project once: key, unit, direction, label and meaning.

To add a metric, give it one entry in `run_metrics.py` or `probe_metrics.py` and compute it at one place; objectives,
constraints, reports, the board, gates and tracking read it from here. Keys read `split/name`, as in
`Milestone.metrics`. Tests compare this list with what runs of every kind produce, and with every key that the source
code and the shipped studies name.

Imports neither torch nor any other heavy library: a command that only checks a study file reads this list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from t5vqvae.evaluation.metric import JOINT_RATE, RATE, Metric
from t5vqvae.evaluation.probe_metrics import PROBE_METRICS
from t5vqvae.evaluation.run_metrics import RUN_METRICS

_ALL = (*RUN_METRICS, *PROBE_METRICS)
METRICS: dict[str, Metric] = {metric.key: metric for metric in _ALL}
"""Every metric by its key."""

FAMILIES = {
    "test": "the metrics of an evaluation on the test split",
    "[A-Z][A-Z0-9_]*": "the same on a further test set of the corpus, such as `VAR/nll`",
    "gate": "the same on the sentences by which a promotion decides",
    "test_ood": "the mean over the test sets that have a twin, as `validation_ood` is over the twins",
    "gate_ood": "the same mean over the sets of these names by which a promotion decides",
    "soft": "the quality of a quantizer's continuous form, whose rate has no bound",
    "tokens": "a second series in MLflow, against target tokens instead of steps",
    "probe": "the metrics of a probe, in the model's run",
    "best": "the metrics of a search's best trial, in the parent run",
}
"""First parts, as patterns, that repeat other metrics: `test/nll` is `validation/nll` on the test split."""


def find(key: str) -> Metric | None:
    """Returns the metric of a key, also of one that repeats it under the first part of a family; None if unknown."""
    if key in METRICS:
        return METRICS[key]
    split, _, name = key.partition("/")
    if any(re.fullmatch(family, split) for family in FAMILIES):
        return find(f"validation/{name}") or find(name)
    return next((metric for metric in _ALL if "*" in metric.key and fnmatchcase(key, metric.key)), None)


def label(key: str) -> str:
    """Returns the name that people read of a metric; of an unknown one, its key without the split."""
    metric = find(key)
    return key.split("/", 1)[-1] if metric is None else metric.label


def common_rate(*sides: Mapping[str, float], test: str = "") -> tuple[str, str] | None:
    """Returns the key of the tightest rate that all sides have, and its kind in words; None if they share none.

    Args:
        sides: Metrics of the runs that are shown together.
        test: The test set whose rate is wanted; empty: that of the validation split.
    """
    kinds = {JOINT_RATE: "joint rate", RATE: "upper bound"}
    keys = {f"{test}/{rate}" if test else rate: kind for rate, kind in kinds.items()}
    return next(((key, kind) for key, kind in keys.items() if sides and all(key in side for side in sides)), None)


def is_on_test(key: str) -> bool:
    """Returns whether a key is measured on a test set."""
    return re.match(r"(test|test_ood|[A-Z][A-Z0-9_]*)/", key) is not None


def on_test(key: str) -> str:
    """Returns the test split's counterpart of a metric; a metric that no evaluation measures stays as it is."""
    metric = METRICS.get(key)
    if metric is None or not metric.is_evaluated:
        return key
    split, _, name = key.partition("/")
    return f"test_ood/{name}" if split == "validation_ood" else f"test/{key.removeprefix('validation/')}"


def on_gate(key: str) -> str:
    """Returns the counterpart of a metric on the sentences by which a promotion decides; see `on_test`.

    Of a further test set it is `gate/VAR/nll`, for `VAR/nll` and for `test/VAR/nll`; of `validation_ood/nll_per_char`
    it is `gate_ood/nll_per_char`, never a value on the test sets of the result tables.
    """
    tested = on_test(key)
    if tested.startswith("test_ood/"):
        return f"gate_ood/{tested.removeprefix('test_ood/')}"
    return f"gate/{tested.removeprefix('test/')}" if is_on_test(tested) else tested


def tracked(key: str) -> str:
    """Returns the key of a metric in MLflow, where `test/` stands before every test set.

    Runs of earlier versions have `VAR/nll` there; `find` reads both.
    """
    return f"test/{key}" if is_on_test(key) and not key.startswith("test") else key


def metrics_of(report: Mapping[str, object]) -> dict[str, float]:
    """Returns the metrics of a flat report: its numbers under keys that read `split/name`.

    Ray Tune adds numbers under plain names and repeats the configuration under `config/`; both are left out.
    """
    return {
        key: float(value)
        for key, value in report.items()
        if "/" in key
        and not key.startswith("config/")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }
