"""Kills a search from the command line at random moments, starts it again each time, and counts what is left.

    python -m tests.tune.kill_loop STATE [KILLS] [SEED] [SECONDS]

SECONDS is the longest that a start may live; on a busy machine none gets anywhere in the 70 that it is by default.

Every process of the search is killed, as when the machine loses power. Run by hand: minutes, and no two runs are alike.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.tune.searches import assert_all_agree, metric_steps
from tests.tune.survival import ALONE, ended, kill_family, under_way
from tune.state import CODE_ROOT, StudyPaths
from tune.study import SearchSpec

NAME, TRIALS = "loop", 6
WORDS = [
    *("quickstart", f"name={NAME}", f"budget.trials={TRIALS}", "data.corpus.size=300", "train.max_steps=40"),
    *("train.eval_every=10", "scheduler.grace_steps=10", "evaluate.num_examples=40", "evaluate.num_generated=8"),
]


def start(state: Path) -> subprocess.Popen:
    command = [sys.executable, "tune/search.py", *WORDS, "--state", str(state)]
    with (state / "driver.log").open("a") as log:
        return subprocess.Popen(command, cwd=CODE_ROOT, env={**os.environ, **ALONE}, stdout=log, stderr=log)


def main(state: Path, kills: int = 5, seed: int = 0, seconds: int = 70) -> None:
    state.mkdir(parents=True, exist_ok=True)
    paths, chance = StudyPaths(state, NAME), random.Random(seed)
    for number in range(kills):
        driver, patience = start(state), chance.uniform(8, seconds)
        try:
            status = driver.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            kill_family(driver.pid)
            status = -signal.SIGKILL
        ending, running = len(ended(paths)), len(under_way(paths))
        print(f"start {number}: status {status} after at most {patience:.0f} s; {ending} ended, {running} under way")
    began = time.monotonic()
    status = start(state).wait()
    print(f"last start: status {status} after {time.monotonic() - began:.0f} s")
    spec = SearchSpec.read(paths.spec)
    records = assert_all_agree(spec, state)
    assert sorted(records) == list(range(TRIALS))
    for record in records.values():
        steps = metric_steps(spec, paths, str(record.mlflow_id), "validation/nll")
        assert len(steps) == len(set(steps)), f"trial {record.number}: {steps}"
    print(f"{len(records)} trials once everywhere: {sorted(record.status for record in records.values())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
