"""How a study's best model becomes champion: what it must be better at, and what it may not make worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metrics import METRICS, find

MEASURED = (
    "validation/nll",
    "validation/nll_per_char",
    "validation/token_accuracy",
    "validation/exact_match",
    "validation/bleu",
    "validation/bleu1",
    "rate/bits_per_token",
    "rate/joint_bits_per_token",
    "rate/bits_per_char",
    "rate/joint_bits_per_char",
    "rate/bits_per_sentence",
    "control/local_intervention",
    "control/distributed_intervention",
    "control/sparse_local_intervention",
    "control/sparse_distributed_intervention",
    "codebook/usage",
)
"""The metrics of two models that have an interval on the same sentences.

Those a token are compared only where both models have the same tokens; those a character or a sentence always.
"""
_SHIFTED = tuple(key for key in MEASURED if not key.startswith(("control/", "codebook/")) and key != "validation/bleu")
"""Those that have one on a shifted set, too, such as `VAR/exact_match`."""


def refuse_without_interval(metric: str, said: str) -> None:
    """Refuses a metric by which two models cannot be compared with an interval.

    Args:
        metric: Its key, on the validation split or a further test set, such as `VAR/exact_match`.
        said: The setting that names it.

    Raises:
        SettingError: With the nearest one that has an interval.
    """
    plain, parts = metric, metric.removeprefix("test/").split("/")
    if len(parts) > 1 and parts[0].isupper():
        rest = "/".join(parts[1:])
        plain = f"validation/{rest}" if f"validation/{rest}" in METRICS else rest
        plain = plain if plain in _SHIFTED else metric
    if plain not in MEASURED:
        raise SettingError(f"{said}={metric} has no interval between two models{did_you_mean(metric, MEASURED)}")


FRONT: Literal["front"] = "front"
"""The value of `candidates` that names all trials of the Pareto front."""


def _candidates(value: Any) -> int | Literal["front"] | None:
    counted = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (counted or value in (None, FRONT)):
        raise ValueError(f"candidates={value!r} must be a whole number of at least 1, or {FRONT}")
    return value  # type: ignore[no-any-return]


class PromotionRules(Config):
    """Which trial is promoted, and what decides whether it becomes champion."""

    margin: float | None = setting(
        None, ge=0, description="how much worse the objective may be, in its unit, where `second` is better"
    )
    second: str | None = setting(
        None, description="the measure that may be better instead, such as rate/joint_bits_per_token or VAR/nll"
    )
    guards: dict[str, float] = Field(
        default_factory=dict, description="metrics, each with how much worse it may become, in its unit"
    )
    max_latency: float | None = setting(None, gt=0, description="time of a reconstruction over the champion's, at most")
    max_size: float | None = setting(None, gt=0, description="bytes of the model over the champion's, at most")
    candidates: Annotated[int | Literal["front"] | None, PlainValidator(_candidates)] = setting(
        None, description="best trials that are trained again, or front; of several objectives the first of the front"
    )
    fresh_seeds: int | None = setting(
        None,
        ge=1,
        description="new seeds that train each candidate again; None: the best trial as the search left it",
    )

    @field_validator("second")
    @classmethod
    def _second_known(cls, metric: str | None) -> str | None:
        if metric is not None:
            refuse_without_interval(metric, "second")
        return metric

    @field_validator("guards")
    @classmethod
    def _guards_known(cls, guards: Mapping[str, float]) -> dict[str, float]:
        for metric, margin in guards.items():
            refuse_without_interval(metric, "guards")
            if not margin >= 0:
                raise SettingError(f"guards: {metric}: {margin:g} must be 0 or more: how much worse it may become")
        return {metric: float(margin) for metric, margin in guards.items()}

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.margin is None) != (self.second is None):
            raise SettingError(
                "margin and second belong together: not worse than the champion by more than margin, and better at"
                " second; give both or neither"
            )
        if (self.candidates is None) != (self.fresh_seeds is None):
            raise SettingError(
                "candidates and fresh_seeds belong together: how many trials are trained again, and with how many new"
                " seeds each; give both or neither"
            )
        return self

    def refuse_front_of_one(self, num_objectives: int) -> None:
        """Refuses the front of a single objective, which is its best trial alone.

        Raises:
            SettingError: With the way out.
        """
        if self.candidates == FRONT and num_objectives == 1:
            raise SettingError("promotion.candidates=front needs several objectives; give a number, such as 3")

    def with_candidates(self, candidates: str | None, fresh_seeds: int | None) -> PromotionRules:
        """Returns these rules with the options `--candidates` and `--fresh-seeds` of a command line; None: not given.

        Raises:
            SettingError: If one of them is out of its range, or one is given without the other.
        """
        given = {"candidates": _counted(candidates), "fresh_seeds": fresh_seeds}
        values = {**self.as_dict(), **{name: value for name, value in given.items() if value is not None}}
        try:
            return PromotionRules.parse(values)
        except SettingError as error:
            said = str(error).replace("candidates", "--candidates", 1).replace("fresh_seeds", "--fresh-seeds", 1)
            raise SettingError(said) from None

    def with_guards(self, texts: list[str]) -> PromotionRules:
        """Returns these rules with guards of a command line, each `METRIC MARGIN`.

        Raises:
            SettingError: If one of them reads otherwise.
        """
        added = {}
        for text in texts:
            metric, _, margin = text.strip().partition(" ")
            try:
                added[metric] = float(margin)
            except ValueError:
                raise SettingError(
                    f"--guard {text!r} must read as 'rate/joint_bits_per_token 0.1': how much worse it may become"
                ) from None
        return PromotionRules.parse({**self.as_dict(), "guards": {**self.guards, **added}})


def _counted(text: str | None) -> int | str | None:
    """Returns the value of `--candidates`: a number where it is one, else what was written."""
    return int(text) if text is not None and text.strip().isdecimal() else text


def direction_of(metric: str) -> Literal["minimize", "maximize"]:
    """Returns whether less or more of a metric with an interval is better."""
    found = find(metric)
    assert found is not None and found.direction is not None, f"{metric} has no direction"
    return found.direction
