"""The wishes for a promotion, and its outcome."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tune.promotion.announcements import Receivers
from tune.promotion.gate import Gate
from tune.spec.promotion_rules import PromotionRules


@dataclass(frozen=True)
class Promotion:
    """The outcome of a promotion.

    Attributes:
        run_id: The trial's run id; its study and number where it has none.
        alias: `champion` or `challenger`.
        effect: Advantage over the champion before it, in the unit of the first objective; None without a comparison.
        test_metrics: Metrics of the test split and of every extra test set.
        passed: Whether the trial is champion now.
        reasons: The reasons for that, one sentence each.
        version: Number of the version of the registered model.
        model_uri: The URI for `mlflow.pyfunc.load_model`.
        decided_by: The sentences that decided, and how often they have, in a line.
        headline: The few numbers that the verdict rests on, one line each.
        warning: What speaks against promoting now, such as trials to come; None: nothing.
        details: Where the other metrics are.
        chosen: How fresh seeds chose it out of which candidates, a line each; empty where none were trained.
        tracking_uri: Where it is registered, without secrets.
    """

    run_id: str
    alias: str
    effect: float | None
    test_metrics: Mapping[str, float]
    passed: bool
    reasons: tuple[str, ...]
    version: str
    model_uri: str
    decided_by: str = ""
    headline: tuple[str, ...] = ()
    warning: str | None = None
    details: str = ""
    chosen: tuple[str, ...] = ()
    tracking_uri: str = ""


@dataclass(frozen=True)
class Wishes:
    """What a user asks of one promotion.

    Attributes:
        gates: Bounds on test metrics, in addition to the study's constraints.
        rules: What decides; None: the rules of the study.
        anyway: Move the alias even where the comparison does not let the model pass; the bounds still count.
        receivers: Who gets a message when the alias moved.
    """

    gates: Sequence[Gate] = ()
    rules: PromotionRules | None = None
    anyway: bool = False
    receivers: Receivers = field(default_factory=Receivers)


def shown(outcome: Promotion) -> list[str]:
    """Returns a promotion as lines for the terminal."""
    head = f"run {outcome.run_id} is version {outcome.version}, alias {outcome.alias}"
    lines = [*outcome.chosen, *outcome.reasons, *outcome.headline, *filter(None, [outcome.decided_by, outcome.warning])]
    told = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    where = "" if told else f'mlflow.set_tracking_uri("{outcome.tracking_uri}"); '
    return [
        head,
        *(f"  {line}" for line in lines),
        f'load it: {where}mlflow.pyfunc.load_model("{outcome.model_uri}")',
        f"all {len(outcome.test_metrics)} metrics: {outcome.details}",
    ]
