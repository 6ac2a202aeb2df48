"""Small disks, read-only folders and a memory of one's own, where this process may mount; else the test is skipped."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: str) -> None:
    """Mounts, or skips the test with the reason."""
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"mounting is refused here: {error}")
    if done.returncode:
        pytest.skip(f"mounting is refused here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Yields the folder as a disk of its own; what was written there is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _change("umount", "--lazy", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes a folder read-only for all that is opened in the block, also by root; open files can be written."""
    aside = folder.with_name(f"{folder.name}-read-only")  # a mount that is in use already cannot be made read-only
    aside.mkdir()
    _mount("--bind", str(folder), str(aside))
    try:
        _change("mount", "-o", "remount,bind,ro", str(aside))
        _change("mount", "--bind", str(aside), str(folder))
        try:
            yield
        finally:
            _change("umount", "--lazy", str(folder))
    finally:
        _change("umount", "--lazy", str(aside))
        aside.rmdir()


def _change(*command: str) -> None:
    """Runs a command that works wherever the first mount did."""
    subprocess.run(command, check=True)


class Memory:
    """The memory that processes see which are started `within` this; Ray's memory monitor reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text(Path("/proc/meminfo").read_text())
        self.short(False)

    @property
    def within(self) -> Sequence[str]:
        """The beginning of a command whose processes see it."""
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/meminfo && exec "$@"', str(self.file)]

    def short(self, is_short: bool) -> None:
        """Leaves next to nothing of 16 GB, or nearly all."""
        known = {"MemTotal": 16_000_000, "MemAvailable": 100_000 if is_short else 15_000_000}
        known |= {"MemFree": known["MemAvailable"], "Buffers": 0, "Cached": 0, "SReclaimable": 0, "Shmem": 0}
        text = self.file.read_text()
        for name, kilobytes in known.items():
            text = re.sub(rf"^{name}:.*$", f"{name}: {kilobytes} kB", text, flags=re.MULTILINE)
        with self.file.open("r+") as file:  # in place: it is mounted elsewhere
            file.write(text)
            file.truncate()

    @classmethod
    def of(cls, file: Path) -> Memory:
        """Returns a memory, or skips the test where processes see only the machine's own."""
        memory = cls(file)
        try:
            done = subprocess.run([*memory.within, "cat", "/proc/meminfo"], capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"mounting is refused here: {error}")
        if "16000000" not in done.stdout:
            pytest.skip(f"mounting is refused here: {done.stderr.strip()}")
        return memory
