"""Ranks the settings of a search by importance, with PED-ANOVA and fANOVA over its completed trials.

PED-ANOVA (Watanabe et al. 2023, in Optuna) measures what distinguishes the best trials from the rest, conditional
settings included. fANOVA (Hutter et al. 2014) measures the share of the variance that each setting explains in a
random forest; it can only use settings that every completed trial has. Trials are `TrialRecord`s as dictionaries.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t5vqvae.evaluation.metrics import Direction

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

Trial = Mapping[str, Any]
"""A `TrialRecord` as a dictionary."""
MIN_TRIALS = 8
"""Fewest completed trials that importance is computed from."""
MIN_TARGETS = 5
"""Fewest best trials for PED-ANOVA, as Optuna recommends."""
MAX_LEVEL = 1e300
"""The largest number on a scale: its square and its ratios would overflow."""
MAX_CHOICES = 6
"""The most choices of a setting in fANOVA: Optuna's takes a column for each, and its time doubles with every column."""
_ABSENT = object()


@dataclass(frozen=True)
class Importance:
    """The importance of each setting for the objective.

    Attributes:
        method: `PED-ANOVA` or `fANOVA`.
        values: `{setting: share}`, shares in [0, 1] with sum 1, largest first; empty with too few trials.
        dropped: Settings that the method cannot use.
        num_trials: Number of completed trials in use.
        caveats: Limits of the result, in sentences.
    """

    method: str
    values: Mapping[str, float]
    dropped: tuple[str, ...]
    num_trials: int
    caveats: tuple[str, ...]


def comparable(trials: Sequence[Trial]) -> list[Trial]:
    """Returns trials whose settings are texts, truth values, None, or numbers that a float can hold.

    A list, a mapping, NaN and an infinity become their text: a level like any other, which has no place on a scale.
    """
    return [{**t, "overrides": {path: _level(value) for path, value in t["overrides"].items()}} for t in trials]


def _level(value: object) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    return value if isinstance(value, int | float) and abs(value) <= MAX_LEVEL else str(value)


def completed(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Returns the trials that completed with a finite metric; pruned trials have no final value."""
    return [t for t in trials if t["status"] == "completed" and math.isfinite(t["metrics"].get(metric, math.nan))]


def searched(trials: Sequence[Trial]) -> list[str]:
    """Returns the settings that differ between trials or are absent from some of them."""
    names = sorted({name for trial in trials for name in trial["overrides"]})
    return [name for name in names if len({repr(t["overrides"].get(name, _ABSENT)) for t in trials}) > 1]


def ped_anova(
    trials: Sequence[Trial],
    metric: str,
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None = None,
) -> Importance:
    """Returns the PED-ANOVA importance of each setting for being among the best trials.

    The best are a tenth of the completed trials, but at least five and at most half of them.

    Args:
        trials: All trials of the study, of any status.
        metric: The objective.
        direction: `minimize` or `maximize`.
        space: `{setting: Optuna distribution}`; missing distributions are inferred from the trials.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    done = completed(trials, metric)
    quantile = min(0.5, max(0.1, MIN_TARGETS / max(1, len(done))))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    caveat = f"PED-ANOVA measures what distinguishes the best {quantile:.0%} of the completed trials from the rest"
    return _importance("PED-ANOVA", evaluator, trials, metric, direction, space, [caveat])


def fanova(
    trials: Sequence[Trial],
    metric: str,
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None = None,
    seed: int = 0,
) -> Importance:
    """Returns the fANOVA importance of each setting: its share of the variance over the space.

    Args:
        trials: As in `ped_anova`.
        metric: The objective.
        direction: `minimize` or `maximize`.
        space: As in `ped_anova`.
        seed: Seed of the random forest.
    """
    from optuna.importance import FanovaImportanceEvaluator

    caveats = []
    dropped = _conditional(completed(trials, metric))
    if dropped:
        caveats.append(f"fANOVA drops conditional settings: {', '.join(dropped)}")
    crowded = tuple(name for name in _crowded(completed(trials, metric), space or {}) if name not in dropped)
    if crowded:
        caveats.append(f"fANOVA drops settings of more than {MAX_CHOICES} choices: {', '.join(crowded)}")
    dropped += crowded
    evaluator = FanovaImportanceEvaluator(seed=seed)
    return _importance("fANOVA", evaluator, trials, metric, direction, space, caveats, dropped)


def _importance(
    method: str,
    evaluator: BaseImportanceEvaluator,
    trials: Sequence[Trial],
    metric: str,
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None,
    caveats: list[str],
    dropped: Sequence[str] = (),
) -> Importance:
    from optuna.importance import get_param_importances

    done = completed(trials, metric)
    caveats = caveats + _biases(trials, done)
    names = [name for name in searched(done) if name not in dropped]
    if len(done) < MIN_TRIALS or not names:
        reason = f"{len(done)} completed trials are too few to rank settings; at least {MIN_TRIALS} are needed"
        return Importance(method, {}, tuple(dropped), len(done), (reason, *caveats))
    study = _study(done, names, metric, direction, space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = get_param_importances(study, evaluator=evaluator)
    total = sum(values.values())
    shares = {name: value / total for name, value in values.items()} if total > 0 else {}
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importance(method, ordered, tuple(dropped), len(done), tuple(caveats))


def _biases(trials: Sequence[Trial], done: Sequence[Trial]) -> list[str]:
    pruned = sum(trial["status"] == "pruned" for trial in trials)
    if not pruned:
        return []
    return [
        f"{pruned} of {len(trials)} trials were pruned and do not count: the {len(done)} completed ones are a biased"
        " sample, in which settings that fail early are rare"
    ]


def _conditional(done: Sequence[Trial]) -> tuple[str, ...]:
    names = sorted({name for trial in done for name in trial["overrides"]})
    return tuple(name for name in names if any(name not in trial["overrides"] for trial in done))


def _crowded(done: Sequence[Trial], space: Mapping[str, BaseDistribution]) -> list[str]:
    """Returns the settings with more choices than fANOVA can take."""
    names = searched(done)
    scales = {name: space.get(name) or _infer(done, name) for name in names}
    return [name for name in names if len(getattr(scales[name], "choices", ())) > MAX_CHOICES]


def _study(
    done: Sequence[Trial],
    names: Sequence[str],
    metric: str,
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None,
) -> optuna.Study:
    """Returns an Optuna study in memory that holds the completed trials."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction)
    optuna.logging.set_verbosity(level)
    distributions = {name: (space or {}).get(name) or _infer(done, name) for name in names}
    for trial in done:
        params = {name: trial["overrides"][name] for name in names if name in trial["overrides"]}
        # The baseline may lie outside of the space, and Optuna refuses such a value.
        params = {name: value for name, value in params.items() if _inside(distributions[name], value)}
        chosen = {name: distributions[name] for name in params}
        value = float(trial["metrics"][metric])
        study.add_trial(optuna.trial.create_trial(params=params, distributions=chosen, value=value))
    return study


def _inside(distribution: BaseDistribution, value: object) -> bool:
    """Returns whether a value lies in the space."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:
        return False


def _infer(done: Sequence[Trial], name: str) -> BaseDistribution:
    """Returns a distribution of the trials' values of a setting: a range for numbers, choices for the rest."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [trial["overrides"][name] for trial in done if name in trial["overrides"]]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(values), max(values)
    log = low > 0 and high / low > 20
    kind = IntDistribution if all(isinstance(value, int) for value in values) else FloatDistribution
    return kind(low, high, log=log)
