"""Objectives and constraints: the metrics that trials of a study may be judged by.

Only what is comparable between trials may decide. A loss that contains the weights under study is no quality, and the
test split may choose nothing. Which metric may play which role stands in `t5vqvae.evaluation.metrics`, as do the keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from pydantic import field_validator, model_validator

from t5vqvae.config import Config
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metric import Direction
from t5vqvae.evaluation.metrics import METRICS, find, is_on_test
from tune.spec.bound import Bound

DIRECTIONS: dict[str, Direction] = {
    key: metric.direction for key, metric in METRICS.items() if metric.role == "objective" and metric.direction
}
"""The metrics that may be objectives, each with its usual direction."""
CONSTRAINT_ONLY = [key for key, metric in METRICS.items() if metric.role == "constraint"]
PER_TOKEN = {key: metric.instead for key, metric in METRICS.items() if metric.instead}
"""The metrics that depend on how text is cut into tokens, each with the metric to compare instead."""
KL_PRICES = ("model.kl_weight", "model.free_bits")
"""The settings that price the bits of a Gaussian latent."""
KL_BITS = ("rate/kl_bits_per_sentence", "rate/kl_bits_per_token")
"""The rate of a Gaussian latent."""
WORST_VIOLATION = 10.0
"""The violation of a constraint by a missing or infinite metric; finite, because samplers compute with it."""


class Objective(Config):
    """A metric to minimize or maximize."""

    is_whole: ClassVar[bool] = True

    metric: str
    direction: Direction

    @model_validator(mode="before")
    @classmethod
    def _usual_direction(cls, values: object) -> object:
        if not isinstance(values, Mapping) or values.get("direction") is not None:
            return values
        usual = next((direction for key, direction in DIRECTIONS.items() if key == values.get("metric")), None)
        return values if usual is None else {**values, "direction": usual}

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
    """A bound that trials of a study should keep, such as `rate/bits_per_token <= 10`."""

    @classmethod
    def parse(cls, text: object) -> Constraint:
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
        """Returns how far metrics lie beyond the bound, relative to it: 0 or less where they keep it.

        Relative values of constraints in different units can be summed, as TPE does.
        """
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return WORST_VIOLATION
        excess = value - self.bound if self.relation == "<=" else self.bound - value
        return excess / (abs(self.bound) or 1.0)


def refuse_metric(metric: str, known: Iterable[str], role: str) -> None:
    """Refuses a metric that cannot play a role.

    Args:
        metric: Its key.
        known: The metrics that can.
        role: For the message: `objective`, `constraint` or `scheduler.metric`.

    Raises:
        SettingError: With the reason and the metric to take instead.
    """
    known = list(known)
    if metric in known:
        return
    if is_on_test(metric):
        raise SettingError(f"{role} {metric} would choose on the test split; take the same metric of validation/")
    measured = find(metric)
    if measured is None:
        raise SettingError(f"{role} {metric} is unknown{did_you_mean(metric, known)}")
    if measured.weighted:
        raise SettingError(
            f"{role} {metric} contains the weights under study, so trials cannot be compared by it;"
            " take validation/nll or validation/nll_per_char"
        )
    if measured.role == "constraint" or measured.split in ("train", "progress"):
        raise SettingError(f"{role} {metric} says nothing of a trial's quality; take validation/nll or another")
    raise SettingError(f"{role} {metric} is only recorded{did_you_mean(metric, known)}")


def refuse_incomparable(metrics: Sequence[str], searched: Sequence[str], section: str = "space") -> None:
    """Refuses searched settings that change what the metrics mean.

    Args:
        metrics: Of the objectives and constraints.
        searched: The varied paths.
        section: The section of the study that varies them.

    Raises:
        SettingError: With the setting and the way out.
    """
    for path in searched:
        if path.split(".")[-1] == "seed":
            raise SettingError(
                f"{section}.{path}: a seed is no hyperparameter; fix it, and repeat seeds in an ablation"
            )
        if path.startswith("evaluate."):
            raise SettingError(f"{section}.{path} changes how trials are judged, so they cannot be compared; fix it")
        if path.startswith("data.") and not retokenizes(path) and path != "data.corpus.size":
            raise SettingError(
                f"{section}.{path} changes what trials are judged on, so they cannot be compared; fix it"
            )
        for metric in metrics:
            if retokenizes(path) and metric in PER_TOKEN:
                raise SettingError(
                    f"{metric} depends on the tokenizer, and {section}.{path} varies that; take {PER_TOKEN[metric]}"
                )


def refuse_free_kl(
    objectives: Sequence[str], constraints: Sequence[Constraint], searched: Sequence[str], section: str = "space"
) -> None:
    """Refuses to choose the price of a Gaussian latent's bits by the quality that these bits buy.

    Reconstruction by itself always takes the least weight on the KL divergence, and the most bits.

    Raises:
        SettingError: With the setting and the way out.
    """
    priced = [path for path in searched if path in KL_PRICES]
    quality = [metric for metric in objectives if metric.startswith("validation/")]
    held = [bound.metric for bound in constraints if bound.relation == "<="]
    if not priced or not quality or set(KL_BITS) & {*objectives, *held}:
        return
    way_out = f"bound the bits (constraints: {KL_BITS[0]} <= 30), or make them an objective to see the whole curve"
    if section != "space":
        way_out = "fix it in base, or give each weight an arm to see the whole curve"
    raise SettingError(
        f"{section}.{priced[0]}: {quality[0]} always takes the value that leaves the latent the most bits; {way_out}"
    )


def retokenizes(path: str) -> bool:
    """Returns whether a setting changes how text is cut into tokens; a backbone brings its own tokenizer."""
    return path.startswith("data.tokenizer.") or path == "model.backbone"


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Returns whether costs `one` are never higher than `other`, and at least once lower."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
