"""Laws of the storage: a restart reads what was written, and a change that the file refuses is not made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from searches import stub_study

from tune.sampling.storage import SQLiteJournal, open_storage
from tune.sampling.suggestions import Suggestions


def metrics(step: int, nll: float) -> dict[str, float]:
    return {"progress/step": float(step), "validation/nll": nll, "rate/bits_per_token": 8.0, "codebook/usage": 0.5}


def lived(path: Path) -> Suggestions:
    """A study whose trials completed, were pruned, diverged, failed, and run."""
    suggestions = Suggestions(stub_study("lived", 8), path)
    for status in ("completed", "pruned", "diverged", "failed", "completed"):
        number = suggestions.next().number
        suggestions.report(number, metrics(10, 0.5))
        suggestions.end(number, status, metrics(40, 0.4))
    suggestions.report(suggestions.next().number, metrics(10, 0.3))
    return suggestions


def contents(trials: list[FrozenTrial]) -> list[tuple]:
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.intermediate_values, t.user_attrs, t.system_attrs)
        for t in trials
    ]


def test_a_restart_reads_what_was_written(tmp_path):
    suggestions = lived(tmp_path / "optuna.db")
    before = suggestions.trials()
    assert len({trial.state for trial in before}) == 4
    assert contents(Suggestions(suggestions.spec, tmp_path / "optuna.db").trials()) == contents(before)


def test_a_change_after_a_restart_reaches_the_trial_it_was_meant_for(tmp_path):
    spec = lived(tmp_path / "optuna.db").spec
    again = Suggestions(spec, tmp_path / "optuna.db")
    assert again.next().number == 5, "the trial that was running"
    again.end(5, "completed", metrics(40, 0.1))
    assert Suggestions(spec, tmp_path / "optuna.db").study.best_trial.number == 5


@pytest.mark.parametrize(
    "states", [None, (), *[(state,) for state in TrialState], (TrialState.RUNNING, TrialState.FAIL)]
)
def test_trials_are_those_that_optuna_itself_would_find(states, tmp_path):
    suggestions = lived(tmp_path / "optuna.db")
    suggestions.study.enqueue_trial({"optim.learning_rate": 1e-3})
    suggestions.trials()  # fills the cache
    suggestions.end(5, "completed", metrics(40, 0.1))
    suggestions.study.ask(), suggestions.next()
    storage = suggestions.storage
    found = storage.get_all_trials(0, deepcopy=False, states=states)
    assert found == JournalStorage(storage.journal).get_all_trials(0, states=states)
    copied = storage.get_all_trials(0, states=states)
    assert copied == found and all(one is not other for one, other in zip(copied, found, strict=True))


def test_optunas_own_tools_can_look_at_a_copy(tmp_path):
    suggestions = lived(tmp_path / "optuna.db")
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    optuna.copy_study(from_study_name="lived", from_storage=open_storage(tmp_path / "optuna.db"), to_storage=copy)
    there = optuna.load_study(study_name="lived", storage=copy)
    assert contents(there.trials) == contents(suggestions.trials())


def test_a_change_that_the_file_refuses_is_not_made_in_memory(tmp_path, monkeypatch):
    suggestions = Suggestions(stub_study("lived", 8), tmp_path / "optuna.db")
    number = suggestions.next().number

    def full(*args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(suggestions.storage.journal, "append_logs", full)
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            suggestions.report(number, metrics(10, 0.5))
    assert suggestions.trials()[number].intermediate_values == {}


def test_changes_are_added_all_or_none_and_read_by_others(tmp_path):
    journal = SQLiteJournal(tmp_path / "journal.db")
    journal.append_logs([{"a": 1}, {"b": float("inf")}])
    with pytest.raises(TypeError):
        journal.append_logs([{"c": 1}, {"d": object()}])
    other = SQLiteJournal(tmp_path / "journal.db")
    other.append_logs([{"e": 2}])
    assert list(journal.read_logs(0)) == [{"a": 1}, {"b": float("inf")}, {"e": 2}]
    assert list(journal.read_logs(2)) == [{"e": 2}]
