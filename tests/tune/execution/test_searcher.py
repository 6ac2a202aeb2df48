"""Laws of the searcher: sources in Ray's terms, and retries of trials that never started."""

from __future__ import annotations

from dead_workers import dead
from numbers_source import Numbers
from ray.tune.search import Searcher
from suggested import BASELINE, metrics, study

from tune.execution.asha import RunToCompletion
from tune.execution.searcher import TrialSearcher
from tune.sampling.suggestions import Suggestions


def fail(given: TrialSearcher, trial_id: str, *, began: bool) -> None:
    """Ray's order of calls when it fails a trial."""
    given.scheduler.on_trial_error(None, dead(trial_id, status="RUNNING" if began else "PENDING"))
    given.on_trial_complete(trial_id, error=True)


def test_a_trial_that_never_started_is_retried_and_its_source_receives_one():
    numbers = Numbers(1)
    given = TrialSearcher(numbers, RunToCompletion())
    assert [given.suggest(name)["number"] for name in "ab"] == [0, 1]
    fail(given, "a", began=False)
    assert given.suggest("c")["number"] == 0 and numbers.heard == []
    fail(given, "c", began=False)
    assert given.suggest("d")["number"] == 0
    given.on_trial_result("d", {"status": "running", "progress/step": 10})
    given.on_trial_complete("d", {"status": "completed"})
    assert numbers.heard == [(0, "running"), (0, "completed")]


def test_a_search_is_not_finished_while_a_trial_may_need_a_retry():
    given = TrialSearcher(Numbers(0), RunToCompletion())
    given.suggest("a")
    assert given.suggest("b") is None
    fail(given, "a", began=False)
    assert given.suggest("c")["number"] == 0
    given.on_trial_complete("c", {"status": "completed"})
    assert given.suggest("d") == Searcher.FINISHED


def test_a_trial_that_died_too_often_has_failed():
    numbers = Numbers(0)
    given = TrialSearcher(numbers, RunToCompletion())
    for trial_id in "abc":
        assert given.suggest(trial_id)["number"] == 0 and numbers.heard == []
        fail(given, trial_id, began=True)
    assert numbers.heard == [(0, "failed")] and given.suggest("d") == Searcher.FINISHED


def test_ray_gets_configs_and_optuna_the_ends_of_trials(tmp_path):
    suggestions = Suggestions(study(budget={"trials": 4}), tmp_path / "optuna.journal")
    searcher = TrialSearcher(suggestions, RunToCompletion())
    configs = [searcher.suggest(key) for key in "abcd"]
    assert configs[0] == {"number": 0, "overrides": BASELINE}
    assert searcher.suggest("e") is None
    searcher.on_trial_result("a", metrics(step=50) | {"status": "running", "config/number": 0, "done": False})
    searcher.on_trial_complete("a", metrics() | {"status": "completed"})
    searcher.on_trial_complete("b", metrics(step=50) | {"status": "running"})
    searcher.on_trial_complete("c", error=True)
    searcher.on_trial_complete("d")  # never started
    assert searcher.suggest("e") == searcher.FINISHED
    states = [trial.state.name for trial in suggestions.trials()]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert suggestions.intermediate_values()[1] == {50: 0.5}
    heir = TrialSearcher(Suggestions(study(budget={"trials": 4}), tmp_path / "optuna.journal"), RunToCompletion())
    assert heir.suggest("x")["number"] == 3
