"""The journal of a run: what was sent of it is known to those who watch, while its writer lives."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from t5vqvae.tracking.outbox.journal import Journal, waiting


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal.create(tmp_path)
    made.append({"kind": "a"})
    made.append({"kind": "bb"})
    return made


def test_what_was_sent_does_not_wait(journal: Journal) -> None:
    size = journal.path.stat().st_size
    assert waiting(journal.path)[0] == size
    _, marks = journal.pending(10)
    journal.consume(marks[0])
    assert waiting(journal.path)[0] == size - marks[0] == len('{"kind": "bb"}\n')
    journal.consume(marks[1])
    assert waiting(journal.path)[0] == 0
    journal.append({"kind": "c"})
    assert waiting(journal.path)[0] == len('{"kind": "c"}\n')


def test_it_waits_since_the_last_entry_was_sent(journal: Journal) -> None:
    started = int(journal.path.name[:20]) / 1e9
    assert waiting(journal.path)[1] == started
    journal.consume(journal.pending(1)[1][0])
    later = time.time() + 100
    os.utime(journal.path.with_suffix(".sent"), (later, later))
    assert waiting(journal.path)[1] == pytest.approx(later)


def test_an_adopted_journal_waits_whole_and_a_closed_one_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.consume(journal.pending(10)[1][-1])
    os.close(journal._descriptor)  # as if its writer had died
    adopted = Journal.adopt(journal.path)
    assert adopted is not None and waiting(journal.path)[0] == journal.path.stat().st_size
    adopted.close(delete=True)
    assert not list(tmp_path.iterdir())


def test_what_comes_after_a_pause_waits_from_then_on(journal: Journal) -> None:
    """A milestone every hour is no hour's backlog."""
    journal.consume(journal.pending(10)[1][-1])
    earlier = time.time() - 3600
    os.utime(journal.path.with_suffix(".sent"), (earlier, earlier))
    journal.append({"kind": "late"})
    size, since = waiting(journal.path)
    assert size > 0 and time.time() - since < 60


def test_a_disk_that_becomes_read_only_ends_no_writer(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(path))

    journal.consume(journal.pending(10)[1][0])
    monkeypatch.setattr(Path, "unlink", refuse)
    journal.close(delete=False)
    assert journal.path.exists()
