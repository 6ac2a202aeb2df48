"""Laws of trials that are given out again since they never began."""

from __future__ import annotations

from types import SimpleNamespace

from numbers_searcher import Numbers
from ray.tune.search import Searcher

from tune.execution.asha import RunToCompletion
from tune.execution.searcher import GivenAgain


def fail(given: GivenAgain, trial_id: str, *, began: bool) -> None:
    """Ray's order of calls when it fails a trial; one that began has used up its restarts."""
    given.scheduler.on_trial_error(None, SimpleNamespace(trial_id=trial_id, should_recover=lambda: not began))
    given.on_trial_complete(trial_id, error=True)


def test_a_trial_that_never_began_comes_again_and_its_searcher_hears_of_one():
    numbers = Numbers(1)
    given = GivenAgain(numbers, RunToCompletion())
    assert [given.suggest(name)["number"] for name in "ab"] == [0, 1]
    fail(given, "a", began=False)
    assert given.suggest("c")["number"] == 0 and numbers.heard == []
    fail(given, "c", began=False)
    assert given.suggest("d")["number"] == 0
    given.on_trial_result("d", {"status": "running"})
    given.on_trial_complete("d", {"status": "completed"})
    assert numbers.heard == [(0, "running"), (0, "completed")]


def test_the_search_is_not_over_while_one_may_come_again():
    given = GivenAgain(Numbers(0), RunToCompletion())
    given.suggest("a")
    assert given.suggest("b") is None
    fail(given, "a", began=False)
    assert given.suggest("c")["number"] == 0
    given.on_trial_complete("c", {"status": "completed"})
    assert given.suggest("d") == Searcher.FINISHED


def test_a_trial_that_died_too_often_has_failed():
    numbers = Numbers(0)
    given = GivenAgain(numbers, RunToCompletion())
    given.suggest("a")
    fail(given, "a", began=True)
    assert numbers.heard == [(0, "error")] and given.suggest("b") == Searcher.FINISHED
