"""Laws of what a sampler reads: all of a short study, the best and a spread of a long one, at any time."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import TrialState, create_trial

from tune.sampling.subset import NUM_BEST, TrialSubset

LIMIT = 80


def ended(number: int, direction: str) -> optuna.trial.FrozenTrial:
    """A trial of any fate: completed, pruned at some step, or breaking a constraint."""
    draw = random.Random(number)
    pruned, broken, value = draw.random() < 0.4, draw.random() < 0.2, draw.random()
    trial = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=value,
        params={"x": value},
        distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        intermediate_values={10 * draw.randint(1, 3): value},
        constraints={"rate": draw.random() if broken else 0.0},
    )
    return trial


def study(num_trials: int, direction: str = "minimize") -> optuna.Study:
    made = optuna.create_study(storage=optuna.storages.InMemoryStorage(), direction=direction)
    for number in range(num_trials):
        made.add_trial(ended(number, direction))
    return made


def read(subset: TrialSubset, of: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return subset.view(of).get_trials(deepcopy=False)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_good_trials_are_the_same_as_without_a_limit(direction):
    long = study(1000, direction)
    seen = read(TrialSubset(long._storage, LIMIT), long)
    assert NUM_BEST < len(seen) <= LIMIT
    assert default_gamma(1000) <= NUM_BEST
    of_all, _ = _split_trials(long, long.trials, default_gamma(1000))
    of_some, others = _split_trials(long, seen, default_gamma(1000))
    assert [trial.number for trial in of_some] == [trial.number for trial in of_all]
    assert min(t.number for t in others) < 200 and max(t.number for t in others) > 800, "a spread over the whole study"


def test_a_subset_viewed_at_every_trial_or_once_after_a_restart_is_the_same():
    growing = study(0)
    patient = TrialSubset(growing._storage, LIMIT)
    for number in range(400):
        growing.add_trial(ended(number, "minimize"))
        often = read(patient, growing)
    once = read(TrialSubset(growing._storage, LIMIT), growing)
    assert [trial.number for trial in often] == [trial.number for trial in once]


def test_a_short_study_and_several_objectives_are_read_whole():
    short = study(LIMIT)
    assert TrialSubset(short._storage, LIMIT).view(short) is short
    assert TrialSubset(short._storage, None).view(short) is short
    two = optuna.create_study(directions=["minimize", "minimize"])
    assert TrialSubset(two._storage, 0).view(two) is two
