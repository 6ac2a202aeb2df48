"""Searches a stub study as a process of its own, to be killed: `python -m tests.tune.drive STATE NAME TRIALS`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tune.searches import STUB, stub_study
from tune.search import SearchResult, search

SLOW = {"optim.warmup_steps": 50}
"""Half a second a milestone: long enough to be killed in between."""


def killed_study(name: str, trials: int):
    return stub_study(name, trials, base=SLOW, sampler={"name": "random"}, scheduler={"name": "none"})


def drive(state: Path, name: str, trials: int) -> SearchResult:
    return search(killed_study(name, trials), state=state, trainer=STUB)


if __name__ == "__main__":
    print("stopped:", drive(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).stopped)
