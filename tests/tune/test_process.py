from __future__ import annotations

import errno
import gc
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from t5vqvae.errors import SettingError, TrackingError
from tune.process import DEBUG, READER_LEFT, THRESHOLDS, collected_seldom, exit_status


def test_a_process_looks_for_garbage_as_before_once_the_search_has_ended():
    before = gc.get_threshold()
    with pytest.raises(KeyboardInterrupt), collected_seldom():
        assert gc.get_threshold() == THRESHOLDS != before
        raise KeyboardInterrupt
    assert gc.get_threshold() == before


def ended_by(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The status and the last words of a command that an error ends."""

    def command() -> int:
        raise error

    return exit_status(command, "all is kept"), capsys.readouterr().err


def of_sqlite(code: int) -> sqlite3.Error:
    """An error as the module sqlite3 raises it."""
    error = sqlite3.OperationalError("some words")
    error.sqlite_errorcode = code
    return error


NESTED = RuntimeError("a worker died")
NESTED.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/state/a.json")
MACHINE = [
    (OSError(errno.ENOSPC, "No space left on device", "/state/a.json"), "the disk of /state/a.json is full"),
    (OSError(errno.EDQUOT, "Disk quota exceeded", "/state/a.json"), "the disk quota of /state/a.json is full"),
    (OSError(errno.EROFS, "Read-only file system", "/state"), "/state lies on a read-only disk"),
    (PermissionError(errno.EACCES, "Permission denied", "/state"), "/state: permission denied"),
    (FileNotFoundError(errno.ENOENT, "No such file", "/state/x"), "/state/x is missing"),
    (of_sqlite(sqlite3.SQLITE_FULL), "the disk of a database is full"),
    (of_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), "a database lies on a read-only disk"),
    (of_sqlite(sqlite3.SQLITE_BUSY), "a database is locked by another process"),
    (of_sqlite(sqlite3.SQLITE_NOTADB), "is no SQLite database"),
    (MemoryError(), "out of memory; lower train.batch_size"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out of memory"),
    (NESTED, "the disk of /state/a.json is full"),
    (TrackingError("the server is away"), "the server is away"),
]


@pytest.mark.parametrize(("error", "said"), MACHINE, ids=[said for _, said in MACHINE])
def test_what_the_machine_does_is_one_line_and_status_1(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, shown = ended_by(error, capsys)
    assert (status, shown.count("\n")) == (1, 1)
    assert said in shown and "Traceback" not in shown
    log = Path(shown.partition("(log: ")[2].partition(")")[0])
    assert type(error).__name__ in log.read_text() and log.stat().st_mode & 0o077 == 0
    log.unlink()


def test_what_the_user_gave_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(SettingError("a=1 is unknown\nb=2 is unknown"), capsys) == (2, "a=1 is unknown; b=2 is unknown\n")
    many = SettingError("\n".join(f"a{place} is unknown" for place in range(9)))
    assert ended_by(many, capsys) == (2, "a0 is unknown; a1 is unknown; a2 is unknown; and 6 more\n")


def test_an_error_that_no_code_expected_is_a_fault_with_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = ended_by(KeyError("http://me:secret@host/db"), capsys)
    assert status == 70 and shown.startswith("fault of t5vqvae: KeyError: ") and shown.count("\n") == 1
    log = Path(shown.split()[-1])
    assert "Traceback" in log.read_text() and "secret" not in log.read_text() + shown
    log.unlink()


def test_debug_shows_the_traceback_before_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEBUG, "1")
    status, shown = ended_by(SettingError("a=1 is unknown"), capsys)
    assert (status, shown.splitlines()[0], shown.splitlines()[-1]) == (
        2,
        "Traceback (most recent call last):",
        "a=1 is unknown",
    )


def test_an_interrupt_says_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(KeyboardInterrupt(), capsys) == (130, "interrupted; all is kept\n")


def test_sigterm_interrupts_a_command_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def command() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    assert exit_status(command, "all is kept") == 130
    assert capsys.readouterr().err == "interrupted; all is kept\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("words", "closed", "status", "said"),
    [
        ("config", ">&-", READER_LEFT, b""),
        ("config", ">&- 2>&- <&-", READER_LEFT, b""),
        ("config trian=3", ">&-", 2, b"trian is unknown"),
        ("config trian=3", "2>&-", 2, b""),
    ],
)
def test_a_closed_stdout_is_a_pipe_that_nobody_reads(words: str, closed: str, status: int, said: bytes) -> None:
    command = f"{shlex.quote(sys.executable)} -m tune.cli {words} {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, cwd=ROOT)
    assert done.returncode == status and done.stdout == b""
    assert done.stderr.startswith(said) and bool(done.stderr) == bool(said)


def test_output_that_nobody_reads_or_that_no_encoding_holds_ends_no_command() -> None:
    words = [sys.executable, "-m", "tune.cli", "config"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    shown = subprocess.run([*words, "ä.yaml"], env=env, capture_output=True, cwd=ROOT)
    assert shown.returncode == 2 and shown.stderr.startswith(b"\\xe4.yaml is no file")
    piped = subprocess.run(f"{shlex.join(words)} --docs | head -1", shell=True, capture_output=True, cwd=ROOT)
    assert piped.stderr == b"" and piped.stdout.count(b"\n") == 1
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True)
        assert done.returncode == 1 and "is full" in done.stderr and done.stderr.count("\n") == 1
