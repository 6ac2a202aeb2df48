"""Laws of the storage: memory and file say the same, and the file is first."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from tests.tune.searches import stub_study
from tune.storage import Mirror, open_storage
from tune.suggest import Suggestions


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


def told(trials: list[FrozenTrial]) -> list[tuple]:
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.intermediate_values, t.user_attrs, t.system_attrs)
        for t in trials
    ]


def test_what_is_read_from_memory_is_what_the_file_holds(tmp_path):
    suggestions = lived(tmp_path / "optuna.db")
    file = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    there = file.get_all_trials(file.get_study_id_from_name("lived"))
    assert len({trial.state for trial in there}) == 4
    assert told(suggestions.trials()) == told(there)
    assert told(Suggestions(suggestions.spec, tmp_path / "optuna.db").trials()) == told(there)


def test_a_change_after_a_restart_reaches_the_trial_it_was_meant_for(tmp_path):
    spec = lived(tmp_path / "optuna.db").spec
    again = Suggestions(spec, tmp_path / "optuna.db")
    assert again.next().number == 5, "the trial that was running"
    again.end(5, "completed", metrics(40, 0.1))
    file = RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert file.get_best_trial(file.get_study_id_from_name("lived")).number == 5


def test_a_change_that_the_file_refuses_is_not_made_in_memory(tmp_path, monkeypatch):
    storage = open_storage(tmp_path / "optuna.db")
    assert isinstance(storage, Mirror)
    suggestions = Suggestions(stub_study("lived", 8), tmp_path / "optuna.db")
    number = suggestions.next().number

    def full(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(suggestions.storage.file, "set_trial_intermediate_value", full)
    with pytest.raises(OSError, match="disk full"):
        suggestions.report(number, metrics(10, 0.5))
    assert suggestions.trials()[number].intermediate_values == {}
