"""Chooses with how many threads a process computes: as many as it may use and find free when it starts.

More threads than free cores are worse than one: at every step all of them wait for the one that has no core. The number
decides in which order floats are added, so a run keeps its number for life, in `threads.json` of its folder.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from t5vqvae.files import read_json, write_json

VARIABLE = "OMP_NUM_THREADS"
"""A user who sets it decides."""
FILE = "threads.json"
THREADS = "t5vqvae.threads"
"""The tag that says with how many threads a run computes, or a registered version was tested."""
SAMPLE_SECONDS = 0.3
"""How long the machine is watched: the load average still counts what ended a minute ago."""
CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Quota:
    """The CPU time that a control group may use, in cores, and the folder of the group."""

    cores: float
    folder: Path

    def used(self) -> float:
        """Returns the CPU seconds that the group has used so far; 0 where that cannot be read."""
        for name, scale in (("cpu.stat", 1e-6), ("cpuacct.usage", 1e-9)):
            with suppress(OSError, ValueError, IndexError):
                words = (self.folder / name).read_text().split()
                return float(words[words.index("usage_usec") + 1] if name == "cpu.stat" else words[0]) * scale
        return 0.0


def run_threads(folder: Path) -> int:
    """Returns the number of threads of a run: the one it began with, or the free cores for a new run.

    Args:
        folder: The run's folder, which keeps the number.
    """
    if VARIABLE in os.environ:
        return free_threads()
    with suppress(OSError, ValueError, KeyError, TypeError):
        return max(1, int(read_json(folder / FILE)["threads"]))
    number = free_threads()
    write_json(folder / FILE, {"threads": number})
    return number


def free_threads() -> int:
    """Returns the cores that this process may use and that are free now, at least 1; a user's own number wins."""
    if VARIABLE in os.environ:
        import torch

        return torch.get_num_threads()
    cores, quota = os.sched_getaffinity(0), quota_of()
    before, started = _busy_seconds(cores), time.monotonic()
    used = 0.0 if quota is None else quota.used()
    time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    free = len(cores) - (_busy_seconds(cores) - before) / seconds
    if quota is None:
        return max(1, round(free))
    left = quota.cores - (quota.used() - used) / seconds
    return max(1, min(round(free), math.floor(left + 0.1)))


def use_threads(number: int) -> None:
    """Makes this process compute and tokenize with a number of threads."""
    import torch

    torch.set_num_threads(number)
    with suppress(RuntimeError):  # only before the first parallel work of the process
        torch.set_num_interop_threads(1)
    os.environ.setdefault("RAYON_NUM_THREADS", str(number))  # of the tokenizers


def quota_of(root: Path = CGROUPS, groups: Path = OWN_GROUPS) -> Quota | None:
    """Returns the tightest CPU quota of this process's control groups, version 1 or 2; None without one.

    Args:
        root: Where the control groups are mounted.
        groups: The list of this process's groups.
    """
    found = [quota for folder in _folders(root, groups) if (quota := _read_quota(folder)) is not None]
    return min(found, key=lambda quota: quota.cores, default=None)


def _folders(root: Path, groups: Path) -> list[Path]:
    """Returns the folders of this process's groups and of the groups around them."""
    lines = []
    with suppress(OSError):
        lines = [line.split(":", 2) for line in groups.read_text().splitlines() if line.count(":") >= 2]
    folders: list[Path] = []
    for number, controllers, path in lines:
        if number == "0":
            mounts = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / controllers, root / "cpu"]
        else:
            continue
        for mount in mounts:
            inner = mount / path.strip("/")
            folders += [each for each in (inner, *inner.parents) if each == mount or mount in each.parents]
    return list(dict.fromkeys(folders))


def _read_quota(folder: Path) -> Quota | None:
    with suppress(OSError, ValueError):
        limit, period = (folder / "cpu.max").read_text().split()
        return None if limit == "max" else Quota(float(limit) / float(period), folder)
    with suppress(OSError, ValueError):
        limit, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if float(limit) <= 0 else Quota(float(limit) / float(period), folder)
    return None


def _busy_seconds(cores: set[int]) -> float:
    """Returns the seconds for which some cores have worked since the machine started, for any process."""
    import psutil

    times = psutil.cpu_times(percpu=True)
    chosen = [times[core] for core in cores if core < len(times)]
    return sum(sum(each[:8]) - each.idle - getattr(each, "iowait", 0.0) for each in chosen)
