"""What follows the death of a trial's process, without Ray: retries, fewer at once, and failures that count."""

from __future__ import annotations

from pathlib import Path

import pytest
from dead_workers import VANISHED, dead
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from tune.execution import deaths
from tune.execution.deaths import TAG, DeadWorkers
from tune.execution.ray_workarounds import as_dead_worker
from tune.records.study_paths import StudyPaths

MONITOR = as_dead_worker(OutOfMemoryError("2 worker(s) were killed due to the node running low on memory\nmore"))
KILLED = RayActorError(error_msg=VANISHED)


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every death is a blow of its own."""
    monkeypatch.setattr(deaths, "BLOW_SECONDS", 0.0)


def die(workers: DeadWorkers, number: int, running: int, error: RayError | None = None, **known: object) -> bool:
    """Lets a trial die, as the scheduler and the searcher report it; returns whether it is retried."""
    trial_id = f"{number}-{len(workers._deaths)}"
    workers.died(dead(trial_id, error, **known))
    return workers.retries(trial_id, number, running)


@pytest.mark.parametrize("error", [MONITOR, KILLED])
def test_the_second_death_for_memory_halves_the_trials_at_once(
    error: RayError, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = DeadWorkers(8, StudyPaths(tmp_path, "s"))
    assert die(workers, 3, 8, error, step=20) and workers.limit == 8
    assert capsys.readouterr().out == ""
    assert die(workers, 4, 8, error) and workers.limit == 4
    assert capsys.readouterr().out.splitlines() == [
        "trial 4: a trial's process died again, and memory may be short; from now on at most 4 trials at once"
    ]
    assert die(workers, 5, 7, error) and workers.limit == 4, "the halving has not taken effect"
    assert die(workers, 6, 3, error) and workers.limit == 2
    assert die(workers, 3, 2, error) and workers.limit == 1
    line = workers.tags(3)[TAG]
    assert line.endswith("after step 20, then at most 1 trial at once") and line.count("after step 20") == 2
    assert DeadWorkers(8, StudyPaths(tmp_path, "s")).tags(3) == {TAG: line}, "the next start knows it"
    assert workers.tags(7) == {}


def test_memory_that_others_took_costs_a_trial_nothing_and_its_own_three_deaths() -> None:
    workers = DeadWorkers(16)
    assert all(die(workers, 0, 16, MONITOR) for _ in range(20)), "the others may have taken it"
    workers = DeadWorkers(1)
    assert [die(workers, 0, 1, MONITOR) for _ in range(3)] == [True, True, False]


def test_a_trial_that_crashes_by_itself_fails_and_the_others_get_their_places_back() -> None:
    workers = DeadWorkers(8)
    assert die(workers, 0, 8, KILLED) and die(workers, 0, 8, KILLED) and workers.limit == 4
    assert not die(workers, 0, 4, KILLED) and workers.limit == 8


def test_several_that_die_in_one_moment_are_one_blow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "BLOW_SECONDS", 60.0)
    workers = DeadWorkers(2)
    for _ in range(3):
        assert die(workers, 0, 2, MONITOR) and die(workers, 1, 1, MONITOR), "neither ran alone"
    assert workers.limit == 1


def test_what_is_no_matter_of_memory_leaves_the_others_alone() -> None:
    workers = DeadWorkers(8)
    broken = RayTaskError("train", "Traceback", RuntimeError("CUDA error: lost"))
    for error in (None, broken, None, broken):
        die(workers, 0 if error else 1, 8, error)
    assert workers.limit == 8
    trial = dead("x", broken)
    workers.died(trial)
    assert workers.reason("x") == "RuntimeError: CUDA error: lost" and workers.reason("y") is None


def test_what_never_started_or_lost_its_node_to_others_is_retried_for_ever() -> None:
    workers = DeadWorkers(2)
    assert all(die(workers, 0, 2, KILLED, status="PENDING") for _ in range(9)) and workers.limit == 2
    assert all(die(workers, 0, 2, RayActorError(error_msg="drained", preempted=True)) for _ in range(9))
    assert not workers.retries("unknown", 0, 2)
