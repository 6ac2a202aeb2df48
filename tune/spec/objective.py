"""What a study may be judged by: objectives that are comparable between its trials, and constraints on them.

To make a new metric known, give it a line in `DIRECTIONS`. Metric keys are `split/name`, as `Milestone.metrics` has
them. A metric that is no quality (a loss that contains the weights under study, the test split) can be no objective.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import field_validator, model_validator

from t5vqvae.config import Config
from t5vqvae.errors import SettingError, did_you_mean
from tune.spec.bound import Bound

Direction = Literal["minimize", "maximize"]

DIRECTIONS: dict[str, Direction] = {
    "validation/nll": "minimize",
    "validation/nll_per_char": "minimize",
    "validation/token_accuracy": "maximize",
    "validation/latent_gain": "maximize",
    "validation/exact_match": "maximize",
    "validation/bleu": "maximize",
    "validation/bleu1": "maximize",
    "codebook/perplexity": "maximize",
    "codebook/usage": "maximize",
    "rate/bits_per_token": "minimize",
    "rate/bits_per_sentence": "minimize",
    "rate/log2_codes": "minimize",
    "cost/step_seconds": "minimize",
    "cost/peak_memory_mb": "minimize",
    "cost/parameters": "minimize",
}
"""The metrics that may be objectives, with the direction that is meant when none is said."""
CONSTRAINT_ONLY = ("codebook/quantization_error", "rate/log2_vocabulary", "train/grad_norm", "train/nll")
GENERATED = ("validation/exact_match", "validation/bleu", "validation/bleu1")
"""The metrics of decoded text; they need `evaluate.num_generated`."""
PER_TOKEN = {
    "validation/nll": "validation/nll_per_char",
    "validation/token_accuracy": "validation/exact_match",
    "validation/latent_gain": "validation/nll_per_char",
    "rate/bits_per_token": "rate/bits_per_sentence",
    "rate/log2_codes": "rate/bits_per_sentence",
}
"""What depends on how text is cut into tokens, with what to compare instead."""
LEAK = "rate/bits_per_token"
"""The metric that every bottleneck has; a run without it has none."""
WORST_VIOLATION = 10.0
"""What a missing or infinite metric violates a constraint by; finite, since samplers compute with it."""


class Objective(Config):
    """A metric to minimize or maximize."""

    metric: str
    direction: Direction

    @model_validator(mode="before")
    @classmethod
    def _usual_direction(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("direction") is None and values.get("metric") in DIRECTIONS:
            return {**values, "direction": DIRECTIONS[values["metric"]]}
        return values

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        refuse_metric(metric, DIRECTIONS, "objective")
        return metric

    @property
    def sign(self) -> float:
        """1 where more is worse, -1 where more is better."""
        return 1.0 if self.direction == "minimize" else -1.0


class Constraint(Bound):
    """A bound that trials of a study should keep, as `rate/bits_per_token <= 10`."""

    @classmethod
    def parse(cls, text: Any) -> Constraint:
        """Reads `metric <= number` or `metric >= number`.

        Raises:
            SettingError: If it is neither, or the metric is unknown.
        """
        if isinstance(text, cls):
            return text
        constraint = cls.read(text)
        if constraint is None:
            raise SettingError(f"constraints: {text!r} must read as 'rate/bits_per_token <= 10' or with >=")
        refuse_metric(constraint.metric, (*DIRECTIONS, *CONSTRAINT_ONLY), "constraint")
        return constraint

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Returns how far metrics are beyond the bound, relative to it: 0 or less where they keep it.

        Relative, so that violations of constraints in different units can be summed, as TPE does.
        """
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return WORST_VIOLATION
        excess = value - self.bound if self.relation == "<=" else self.bound - value
        return excess / (abs(self.bound) or 1.0)


def refuse_metric(metric: str, known: Iterable[str], role: str) -> None:
    """Refuses a metric that cannot play a role, `objective` or `constraint`.

    Raises:
        SettingError: With the reason and what to take instead.
    """
    if metric in known:
        return
    if metric in ("train/loss", "train/aux_loss"):
        raise SettingError(
            f"{role} {metric} contains the weights under study, so trials cannot be compared by it;"
            " take validation/nll or validation/nll_per_char"
        )
    if metric.startswith("test/") or re.match(r"[A-Z]+/", metric):
        raise SettingError(f"{role} {metric} would choose on the test split; take the same metric of validation/")
    if metric.startswith(("train/", "progress/")) or metric in CONSTRAINT_ONLY:
        raise SettingError(f"{role} {metric} says nothing of a trial's quality; take validation/nll or another")
    raise SettingError(f"{role} {metric} is unknown{did_you_mean(metric, known)}")


def refuse_incomparable(metrics: Sequence[str], searched: Sequence[str]) -> None:
    """Refuses searched settings that change what the metrics mean.

    Args:
        metrics: Of the objectives and constraints.
        searched: The paths of the space.

    Raises:
        SettingError: With the setting and the way out.
    """
    for path in searched:
        if path.split(".")[-1] == "seed":
            raise SettingError(f"space.{path}: a seed is no hyperparameter; fix it, and repeat seeds in an ablation")
        if path.startswith("evaluate."):
            raise SettingError(f"space.{path} changes how trials are judged, so they cannot be compared; fix it")
        if path.startswith("data.") and not retokenizes(path) and path != "data.corpus.size":
            raise SettingError(f"space.{path} changes what trials are judged on, so they cannot be compared; fix it")
        for metric in metrics:
            if retokenizes(path) and metric in PER_TOKEN:
                raise SettingError(
                    f"{metric} depends on the tokenizer, and space.{path} varies that; take {PER_TOKEN[metric]}"
                )


def retokenizes(path: str) -> bool:
    """Returns whether a setting changes how text is cut into tokens; a backbone brings its own tokenizer."""
    return path.startswith("data.tokenizer.") or path == "model.backbone"


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Returns whether costs `one` are nowhere higher than `other`, and somewhere lower."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
