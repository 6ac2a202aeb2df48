"""Laws of the journal's file: all changes of a write or none, torn ends cut, damage found, others read along."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.errors import DamagedFileError
from tune.sampling.optuna_journal import HEADER, StudyJournal, changes_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three changes."""
    journal = StudyJournal(tmp_path / "journal")
    journal.append_logs([{"a": 1}, {"b": float("inf")}])
    journal.append_logs([{"c": "\u2028\r\n x"}])
    return journal.path


THREE: list[dict[str, Any]] = [{"a": 1}, {"b": float("inf")}, {"c": "\u2028\r\n x"}]


def test_changes_are_read_from_any_number_on_and_by_others(path: Path) -> None:
    journal, other = StudyJournal(path), StudyJournal(path)
    assert journal.read_logs(0) == other.read_logs(0) == changes_in(path) == THREE
    assert journal.read_logs(2) == THREE[2:] and journal.read_logs(3) == [] and journal.read_logs(1) == THREE[1:]
    other.append_logs([{"e": 2}])
    assert journal.read_logs(3) == [{"e": 2}]
    journal.append_logs([{"f": 3}])
    assert other.read_logs(4) == [{"f": 3}] and StudyJournal(path).read_logs(0) == [*THREE, {"e": 2}, {"f": 3}]


def test_a_change_that_is_no_json_stops_all_of_its_write(path: Path) -> None:
    journal = StudyJournal(path)
    with pytest.raises(TypeError):
        journal.append_logs([{"d": 1}, {"e": object()}])
    journal.append_logs([{"f": 1}])
    assert changes_in(path) == [*THREE, {"f": 1}]


@pytest.mark.parametrize("written", [0, 1, 15])
def test_a_full_disk_leaves_no_part_of_a_write(path: Path, written: int) -> None:
    journal, whole = StudyJournal(path), path.read_bytes()

    class Full:
        """A disk that takes some bytes of a write, and then none."""

        def __init__(self) -> None:
            self.file, self.left = journal._file, written

        def write(self, content: memoryview) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken, self.left = self.file.write(content[: self.left]), 0
            return taken

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    journal._file = Full()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        journal.append_logs([{"d": 1}, {"e": 1}])
    assert path.read_bytes() == whole
    journal._file = journal._file.file  # type: ignore[attr-defined]
    journal.append_logs([{"f": 1}])
    assert changes_in(path) == [*THREE, {"f": 1}]


def test_wherever_a_write_was_torn_what_was_whole_is_read_and_more_is_added(path: Path) -> None:
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for length in range(len(HEADER), len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = THREE[: sum(end <= length for end in ends) - 1]
        journal = StudyJournal(path)
        assert journal.read_logs(0) == changes_in(path) == kept
        journal.append_logs([{"more": 1}])
        assert StudyJournal(path).read_logs(0) == [*kept, {"more": 1}]


def test_every_changed_byte_of_a_whole_line_and_every_missing_line_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(HEADER), len(whole)):
        if whole[place] == 10:
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if path.read_bytes().count(b"\n") == whole.count(b"\n"):
            with pytest.raises(DamagedFileError, match="is damaged: the checksum of change"):
                StudyJournal(path).read_logs(0)
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(DamagedFileError, match="the checksum of change 1 does not fit"):
        StudyJournal(path).read_logs(0)


def test_a_file_of_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_bytes(b"SQLite format 3\0 and more that is long enough")
    before = file.read_bytes()
    for read in (StudyJournal, changes_in):
        with pytest.raises(DamagedFileError, match="has the format of another version or program"):
            read(file)
    assert file.read_bytes() == before
