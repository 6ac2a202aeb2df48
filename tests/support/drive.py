"""Searches a stub study in a process that can be killed: `python tests/support/drive.py STATE NAME TRIALS [JSON]`.

JSON holds further settings of the study; `trainer` among them names another trainer than the stub.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from searches import STUB, stub_study

from t5vqvae.errors import UserError
from tune.process import exit_status
from tune.search import SearchResult, search
from tune.spec.search_spec import SearchSpec

SLOW = {"optim.warmup_steps": 50}
"""Half a second a milestone: long enough to be killed in between."""


def killed_study(name: str, trials: int, **settings: Any) -> SearchSpec:
    """A study that draws the same trials however it is interrupted: random, and none is stopped early by default."""
    base = {**SLOW, **settings.pop("base", {})}
    kept = {"sampler": {"name": "random"}, "scheduler": {"name": "none"}, **settings}
    return stub_study(name, trials, base=base, **kept)


def drive(state: Path, name: str, trials: int, trainer: str = STUB, **settings: Any) -> SearchResult:
    """Searches, or goes on."""
    return search(killed_study(name, trials, **settings), state=state, trainer=trainer)


def main(state: Path, name: str, trials: int, **words: Any) -> int:
    """Searches; returns the exit status, with errors in one line as the command has them."""
    try:
        print("stopped:", drive(state, name, trials, **words).stopped)
    except UserError as error:
        print(error)
        return error.status
    return 0


if __name__ == "__main__":
    words = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    sys.exit(exit_status(lambda: main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), **words)))
