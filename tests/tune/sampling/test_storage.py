"""Laws of the storage: a restart reads what was written, and a change that the file refuses is not made."""

from __future__ import annotations

import errno
import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState
from searches import stub_study
from sqlalchemy.exc import DatabaseError

from t5vqvae.errors import DamagedFileError
from tune.sampling.optuna_journal import changes_in
from tune.sampling.storage import copied_storage, open_storage
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
    suggestions = lived(tmp_path / "optuna.journal")
    before = suggestions.trials()
    assert len({trial.state for trial in before}) == 4
    assert contents(Suggestions(suggestions.spec, tmp_path / "optuna.journal").trials()) == contents(before)


def test_a_change_after_a_restart_reaches_the_trial_it_was_meant_for(tmp_path):
    spec = lived(tmp_path / "optuna.journal").spec
    again = Suggestions(spec, tmp_path / "optuna.journal")
    assert again.next().number == 5, "the trial that was running"
    again.end(5, "completed", metrics(40, 0.1))
    assert Suggestions(spec, tmp_path / "optuna.journal").study.best_trial.number == 5


@pytest.mark.parametrize(
    "states", [None, (), *[(state,) for state in TrialState], (TrialState.RUNNING, TrialState.FAIL)]
)
def test_trials_are_those_that_optuna_itself_would_find(states, tmp_path):
    suggestions = lived(tmp_path / "optuna.journal")
    suggestions.study.enqueue_trial({"optim.learning_rate": 1e-3})
    suggestions.trials()  # fills the cache
    suggestions.end(5, "completed", metrics(40, 0.1))
    suggestions.study.ask(), suggestions.next()
    storage = suggestions.storage
    found = storage.get_all_trials(0, deepcopy=False, states=states)
    assert found == JournalStorage(storage.journal).get_all_trials(0, states=states)
    copied = storage.get_all_trials(0, states=states)
    assert copied == found and all(one is not other for one, other in zip(copied, found, strict=True))


def test_optunas_own_tools_look_at_a_copy_and_the_file_stays_as_it_is(tmp_path):
    path = tmp_path / "optuna.journal"
    suggestions = lived(path)
    before, copy = path.read_bytes(), copied_storage(path)
    there = optuna.load_study(study_name="lived", storage=copy)
    assert contents(there.trials) == contents(suggestions.trials())
    there.set_user_attr("a note of the dashboard", "x")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_no_tool_opens_the_file_as_a_database(tmp_path):
    path = tmp_path / "optuna.journal"
    lived(path)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="file is not a database"):
        optuna.load_study(study_name="lived", storage=f"sqlite:///{path}")
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database"), closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE foreign_one (number INTEGER)")
    assert path.read_bytes() == before


def test_a_change_that_the_file_refuses_is_not_made_in_memory(tmp_path, monkeypatch):
    suggestions = Suggestions(stub_study("lived", 8), tmp_path / "optuna.journal")
    number = suggestions.next().number

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(suggestions.storage.journal, "append_logs", full)
        with pytest.raises(OSError, match="No space left"):
            suggestions.report(number, metrics(10, 0.5))
    assert suggestions.trials()[number].intermediate_values == {}


def old_file(path: Path, changes: list, checksums: bool = True) -> None:
    """What an older version wrote: the changes as rows of a database with write-ahead logging."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("CREATE TABLE changes (number INTEGER PRIMARY KEY, change TEXT NOT NULL)")
        rows = [(text, zlib.crc32(text.encode())) for text in map(json.dumps, changes)]
        if checksums:
            file.execute("ALTER TABLE changes ADD COLUMN checksum INTEGER")
            file.executemany("INSERT INTO changes (change, checksum) VALUES (?, ?)", rows)
        else:
            file.executemany("INSERT INTO changes (change) VALUES (?)", [row[:1] for row in rows])


@pytest.mark.parametrize("checksums", [True, False])
def test_what_an_older_version_stored_is_taken_over(tmp_path, checksums):
    wanted = lived(tmp_path / "new" / "optuna.journal")
    changes = changes_in(tmp_path / "new" / "optuna.journal")
    old_file(tmp_path / "optuna.db", changes, checksums)
    looked_at = optuna.load_study(study_name="lived", storage=copied_storage(tmp_path / "optuna.journal"))
    assert contents(looked_at.trials) == contents(wanted.trials()) and not (tmp_path / "optuna.journal").exists()
    heir = Suggestions(wanted.spec, tmp_path / "optuna.journal")
    assert contents(heir.trials()) == contents(wanted.trials())
    assert (tmp_path / "optuna.db.old").is_file() and not (tmp_path / "optuna.db").exists()
    heir.end(5, "completed", metrics(40, 0.1))
    assert Suggestions(wanted.spec, tmp_path / "optuna.journal").study.best_trial.number == 5


@pytest.mark.parametrize("wrong", ["foreign", "hole", "noise"])
def test_an_old_file_that_cannot_be_trusted_is_damaged(tmp_path, wrong):
    old = tmp_path / "optuna.db"
    if wrong == "foreign":
        optuna.create_study(study_name="lived", storage=f"sqlite:///{old}")
    elif wrong == "hole":
        old_file(old, [{"op_code": 0}, {"op_code": 1}, {"op_code": 2}])
        with closing(sqlite3.connect(old, isolation_level=None)) as file:
            file.execute("DELETE FROM changes WHERE number = 2")
    else:
        old.write_bytes(b"SQLite format 3\0" + bytes(range(200)))
    with pytest.raises(DamagedFileError, match=str(old)):
        open_storage(tmp_path / "optuna.journal")
    assert old.is_file()
