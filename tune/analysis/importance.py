"""Ranks the settings of a search by importance, with PED-ANOVA and fANOVA over its completed trials.

PED-ANOVA (Watanabe et al. 2023, in Optuna) measures what distinguishes the best trials from the rest, conditional
settings included. fANOVA (Hutter et al. 2014) measures the share of the variance that each setting explains in a
random forest; it can only use settings that every completed trial has, so it leaves out the few trials (the baseline is
one) that lack a setting of all others. Trials are `TrialRecord`s as dictionaries.

Shares add up to 1 even when nothing matters: some setting is always first. `Importance.null` is the largest share after
the objective was shuffled among the trials, and a share near it shows nothing.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.evaluation.metric import Direction
from tune.analysis.trial_values import Trial, completed, searched

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

MIN_TRIALS = 8
"""Fewest completed trials that importance is computed from."""
MIN_TARGETS = 5
"""Fewest best trials for PED-ANOVA, as Optuna recommends."""
MAX_CHOICES = 6
"""The most choices of a setting in fANOVA: Optuna's takes a column for each, and its time doubles with every column."""
NUM_SHUFFLES = {"PED-ANOVA": 20, "fANOVA": 3}
"""How often the objective is shuffled; a random forest takes longer."""
NULL_TREES = 8
"""Trees of the forests on shuffled objectives, an eighth of fANOVA's own, which take seconds for hundreds of trials."""
FEW = 0.1
"""Share of trials, at least one, that fANOVA leaves out because they lack a setting which all others have."""


@dataclass(frozen=True)
class Importance:
    """The importance of each setting for the objective.

    Attributes:
        method: `PED-ANOVA` or `fANOVA`.
        values: `{setting: share}`, shares in [0, 1] with sum 1, largest first; empty with too few trials.
        dropped: Settings that the method cannot use.
        num_trials: Number of completed trials in use.
        caveats: Limits of the result, in sentences.
        null: Largest share under no effect: its mean over shuffles of the objective; NaN with too few trials.
    """

    method: str
    values: Mapping[str, float]
    dropped: tuple[str, ...]
    num_trials: int
    caveats: tuple[str, ...]
    null: float = math.nan


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
    return _importance("PED-ANOVA", (evaluator, evaluator), trials, metric, direction, space, [caveat])


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

    done = completed(trials, metric)
    kept = _alike(done, space or {})
    dropped, caveats = _conditional(kept), []
    if len(kept) < len(done):
        left = ", ".join(str(trial["number"]) for trial in done if trial not in kept)
        caveats.append(f"fANOVA leaves out trials without a value, within the space, of what all others have: {left}")
    if dropped:
        caveats.append(f"fANOVA drops conditional settings: {', '.join(dropped)}")
    crowded = tuple(name for name in _crowded(kept, space or {}) if name not in dropped)
    if crowded:
        caveats.append(f"fANOVA drops settings of more than {MAX_CHOICES} choices: {', '.join(crowded)}")
    dropped += crowded
    evaluators = FanovaImportanceEvaluator(seed=seed), FanovaImportanceEvaluator(n_trees=NULL_TREES, seed=seed)
    unfinished = [trial for trial in trials if trial not in done]
    return _importance("fANOVA", evaluators, [*unfinished, *kept], metric, direction, space, caveats, dropped)


def _alike(done: Sequence[Trial], space: Mapping[str, BaseDistribution]) -> list[Trial]:
    """Returns the trials without those few that lack a setting which all others have, or have it outside the space."""
    most = max(1, int(FEW * len(done)))
    odd: set[int] = set()
    for name in {name for trial in done for name in trial["overrides"]}:
        lacking = [i for i, trial in enumerate(done) if not _has(trial, name, space.get(name))]
        if len(lacking) <= most:
            odd |= set(lacking)
    return [trial for i, trial in enumerate(done) if i not in odd]


def _has(trial: Trial, name: str, distribution: BaseDistribution | None) -> bool:
    overrides = trial["overrides"]
    return name in overrides and (distribution is None or _inside(distribution, overrides[name]))


def _importance(
    method: str,
    evaluators: tuple[BaseImportanceEvaluator, BaseImportanceEvaluator],
    trials: Sequence[Trial],
    metric: str,
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None,
    caveats: list[str],
    dropped: Sequence[str] = (),
) -> Importance:
    """Returns the importance by the first evaluator, and its null by the second one over shuffled objectives."""
    done = completed(trials, metric)
    caveats = caveats + _biases(trials, done)
    names = [name for name in searched(done) if name not in dropped]
    if len(done) < MIN_TRIALS or not names:
        reason = f"{len(done)} completed trials are too few to rank settings; at least {MIN_TRIALS} are needed"
        if len(done) >= MIN_TRIALS:
            reason = f"no setting varies that {method} can rank"
        return Importance(method, {}, tuple(dropped), len(done), (reason, *caveats))
    values = [float(trial["metrics"][metric]) for trial in done]
    shares = _shares(evaluators[0], done, values, names, direction, space)
    rng, largest = random.Random(0), []
    for _ in range(NUM_SHUFFLES[method]):
        shuffled = _shares(evaluators[1], done, rng.sample(values, len(values)), names, direction, space)
        largest.append(max(shuffled.values(), default=0.0))
    null = sum(largest) / len(largest)
    caveats.append(
        f"{method}: when the objective is shuffled, the largest share is {null:.0%} on average (at most"
        f" {max(largest):.0%} in {len(largest)} shuffles); a share near that shows nothing"
    )
    return Importance(method, shares, tuple(dropped), len(done), tuple(caveats), null)


def _shares(
    evaluator: BaseImportanceEvaluator,
    done: Sequence[Trial],
    values: Sequence[float],
    names: Sequence[str],
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None,
) -> dict[str, float]:
    """Returns `{setting: share}`, largest first, of trials with these values of the objective."""
    from optuna.importance import get_param_importances

    study = _study(done, values, names, direction, space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=evaluator)
    total = sum(found.values())
    shares = {name: float(value / total) for name, value in found.items()} if total > 0 else {}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


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
    values: Sequence[float],
    names: Sequence[str],
    direction: Direction,
    space: Mapping[str, BaseDistribution] | None,
) -> optuna.Study:
    """Returns an Optuna study in memory that holds the completed trials, with these values."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction)
    optuna.logging.set_verbosity(level)
    distributions = {name: (space or {}).get(name) or _infer(done, name) for name in names}
    for trial, value in zip(done, values, strict=True):
        params = {name: trial["overrides"][name] for name in names if name in trial["overrides"]}
        # The baseline may lie outside of the space, and Optuna refuses such a value.
        params = {name: value for name, value in params.items() if _inside(distributions[name], value)}
        chosen = {name: distributions[name] for name in params}
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
