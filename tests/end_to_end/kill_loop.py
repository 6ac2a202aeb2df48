"""Kills a search from the command line at random moments, starts it again each time, and counts what is left.

    PYTHONPATH=tests/support python -m tests.end_to_end.kill_loop STATE [KILLS] [SEED] [SECONDS]

Each start is killed up to SECONDS after it has written its first checkpoint: in a step, an evaluation, a save, between
two trials. Every process of the search is killed, as when the machine loses power. Run by hand: minutes, and no two
runs are alike.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from searches import assert_all_agree, metric_steps
from survival import ALONE, ended, kill_family, under_way

from t5vqvae.training import checkpoint
from tune.records.study_paths import CODE_ROOT, StudyPaths
from tune.spec.search_spec import SearchSpec

NAME, TRIALS = "loop", 6
WORDS = [
    *("quickstart", f"name={NAME}", f"budget.trials={TRIALS}", "data.corpus.size=300", "train.max_steps=40"),
    *("train.eval_every=10", "scheduler.grace_steps=10", "evaluate.num_examples=40", "evaluate.num_generated=8"),
]


def start(state: Path) -> subprocess.Popen:
    command = [sys.executable, "tune/search.py", *WORDS, "--state", str(state)]
    with (state / "driver.log").open("a") as log:
        return subprocess.Popen(command, cwd=CODE_ROOT, env={**os.environ, **ALONE}, stdout=log, stderr=log)


def checkpoints(paths: StudyPaths) -> set[str]:
    """Returns the checkpoints there are, as `trial/step`."""
    return {f"{path.parent.name}/{path.name}" for path in paths.trials.glob(f"*/{checkpoint.PREFIX}*")}


def main(state: Path, kills: int = 5, seed: int = 0, seconds: int = 8) -> None:
    state.mkdir(parents=True, exist_ok=True)
    paths, chance = StudyPaths(state, NAME), random.Random(seed)
    for number in range(kills):
        before, driver, patience = checkpoints(paths), start(state), chance.uniform(0, seconds)
        while driver.poll() is None and not checkpoints(paths) - before:
            time.sleep(0.02)
        try:
            status = driver.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            kill_family(driver.pid)
            status = -signal.SIGKILL
        new, running = len(checkpoints(paths) - before), sorted(under_way(paths))
        print(
            f"start {number}: status {status}, {patience:.1f} s after its first checkpoint; {len(ended(paths))} ended,"
            f" under way: {running}, checkpoints of this start: {new}",
            flush=True,
        )
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
