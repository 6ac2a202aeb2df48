"""What disks refuse, in one line: full, read-only, over a quota; and room that is looked at before it is needed."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from safetensors import SafetensorError

from t5vqvae.disk import MARGIN, disk_error, disk_errors, need_room, shown, size_of, writable
from t5vqvae.errors import DataError, DiskError, SettingError


def said(error: Exception, folder: Path) -> str:
    with pytest.raises(DiskError) as caught, disk_errors(folder):
        raise error
    line = str(caught.value)
    assert str(folder) in line and "\n" not in line and line.endswith("the same command resumes")
    assert caught.value.status == 1 and caught.value.__cause__ is error
    return line


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EFBIG, "is full"),
        (errno.EDQUOT, "the quota on the disk of"),
        (errno.EROFS, "is read-only"),
        (errno.EACCES, "refuses to be written (Permission denied)"),
        (errno.EPERM, "refuses to be written (Operation not permitted)"),
        (errno.EIO, "refuses to be written (Input/output error)"),
    ],
)
def test_what_the_system_refuses_is_one_line(code: int, line: str, tmp_path: Path) -> None:
    assert line in said(OSError(code, os.strerror(code), str(tmp_path / "file")), tmp_path)


def test_it_is_found_below_what_was_made_of_it(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    outer, inner = RuntimeError("Traceback (most recent call last): ..."), ValueError("could not be written")
    inner.__cause__, outer.__context__ = full, inner
    assert "is full" in said(outer, tmp_path)


@pytest.mark.parametrize("text", ["PytorchStreamWriter failed: file write failed", ". unexpected pos 64 vs 32"])
def test_what_torch_says_of_a_full_disk_is_known(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=MARGIN - 1))
    assert "is full" in said(RuntimeError(text), tmp_path)
    monkeypatch.undo()
    assert disk_error(RuntimeError(text), tmp_path) is None, "there is room"


@pytest.mark.parametrize(
    ("code", "line"), [(errno.ENOSPC, "is full"), (errno.EFBIG, "is full"), (errno.EIO, "refuses")]
)
def test_what_safetensors_says_is_known_by_its_code(code: int, line: str, tmp_path: Path) -> None:
    text = "Error while serializing: I/O error: {} (os error {})"
    assert line in said(SafetensorError(text.format(os.strerror(code), code)), tmp_path)
    assert disk_error(SafetensorError(text.format("No such file or directory", errno.ENOENT)), tmp_path) is None
    assert disk_error(SafetensorError("Error while deserializing header: HeaderTooSmall"), tmp_path) is None


def test_a_full_and_a_read_only_database_are_known_by_their_codes(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "db")
    database.execute("create table t (x)")
    database.execute("pragma max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("insert into t values (zeroblob(100000))")
    assert "is full" in said(full.value, tmp_path)
    closed = sqlite3.connect(f"file:{tmp_path / 'db'}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as readonly:
        closed.execute("insert into t values (1)")
    assert "is read-only" in said(readonly.value, tmp_path)


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    elsewhere = PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")
    for error in (elsewhere, FileNotFoundError(errno.ENOENT, "x"), DataError("one line already"), ValueError("a bug")):
        with pytest.raises(type(error)) as caught, disk_errors(tmp_path):
            raise error
        assert caught.value is error
    broken = sqlite3.OperationalError("no such table: t")
    with pytest.raises(sqlite3.OperationalError), disk_errors(tmp_path):
        raise broken


def test_room_for_a_checkpoint_and_a_margin_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=110_000_000 + MARGIN))
    need_room(tmp_path, 100_000_000)
    with pytest.raises(
        DiskError, match=f"the disk of {tmp_path} is full.*118.0 MB free, a checkpoint takes .* stay free"
    ):
        need_room(tmp_path, 100_100_000)


def test_sizes_are_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/x", "b"):
        (tmp_path / name).write_bytes(bytes(1000))
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    assert 2000 <= size_of(tmp_path) < 2200 and size_of(tmp_path / "b") == 1000
    assert shown(2_000) == "0.0 MB" and shown(31_400_000) == "31.4 MB" and shown(2_340_000_000) == "2.3 GB"


def test_a_folder_that_is_to_be_written_is_made_and_stays_empty(tmp_path: Path) -> None:
    folder = tmp_path / "two words" / "#1"
    assert writable(folder, "") == folder and list(folder.iterdir()) == []
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(SettingError, match=r"^--into .*/file: it is a file; name another$"):
        writable(file, "--into {}: {}; name another")
    assert file.read_text() == "kept"
