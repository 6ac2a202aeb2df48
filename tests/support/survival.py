"""Searches that are interrupted: starting their driver, waiting for a moment worth a kill, and judging what came out.

`halfway` is the moment that every test waits for: a trial has ended, another is past its first checkpoint, a third has
not begun. `assert_survived` is the judgement they share: everything agrees, and equals an uninterrupted twin.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from places import SUPPORT
from searches import assert_all_agree, metric_steps

from t5vqvae.runs.ownership import OWNER
from t5vqvae.training import checkpoint
from tune.records.ranking import contenders
from tune.records.record import FILE, TrialRecord
from tune.records.study_paths import CODE_ROOT, StudyPaths
from tune.spec.search_spec import SearchSpec

TRIALS = 10
"""Of the study `night`: enough that after three interruptions there is something left to do."""
ALONE = {"RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
"""The environment of a driver that starts its own Ray and knows no MLflow server."""
MEASURED = ("cost/", "system/")
"""Metrics that no two starts have in common."""


def start(
    state: Path,
    *words: str,
    module: str = "drive",
    within: Sequence[str] = (),
    log: Path | None = None,
    **environment: str,
) -> subprocess.Popen:
    """Starts a driver as a process of its own, `within` another command; its output is added to `driver.log`.

    `driver.log` lies in the state folder, or in `log`.
    """
    known = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    command = [*within, sys.executable, str(SUPPORT / f"{module}.py"), str(state), *words]
    with ((log or state) / "driver.log").open("a") as output:
        return subprocess.Popen(
            command,
            cwd=CODE_ROOT,
            env={**known, "PYTHONPATH": str(CODE_ROOT), **ALONE, **environment},
            stdout=output,
            stderr=output,
        )


def wait_for(happened: Callable[[], Any], driver: subprocess.Popen | None, what: str, seconds: float = 180) -> None:
    """Waits until something has happened; fails when the driver ends before, or time runs out."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert driver is None or driver.poll() is None or happened(), f"the driver ended before {what}"
        assert time.monotonic() < deadline, f"no {what} in {seconds} s"
        time.sleep(0.05)


def ended(paths: StudyPaths) -> set[int]:
    """Trials with a record."""
    return {int(file.parent.name) for file in paths.trials.glob(f"*/{FILE}")}


def under_way(paths: StudyPaths) -> set[int]:
    """Trials past their first checkpoint that have not ended."""
    return {int(path.parent.name) for path in paths.trials.glob(f"*/{checkpoint.PREFIX}*")} - ended(paths)


def halfway(paths: StudyPaths, trials: int, before: set[int] = frozenset()) -> bool:  # type: ignore[assignment]
    """Whether a trial has ended (since `before`), one is past its first checkpoint, and one has not begun."""
    begun = {int(folder.name) for folder in paths.trials.glob("*")}
    return bool(ended(paths) - before and under_way(paths)) and len(begun) < trials


def owner_of(paths: StudyPaths, number: int) -> int | None:
    """Returns the id of the process that trains a trial (rank 0 of several); None while it is being written."""
    words = (paths.trial(number) / OWNER).read_text().split()
    return int(words[1]) if len(words) == 3 else None


def process_of(paths: StudyPaths, number: int) -> psutil.Process:
    """Returns the process that trains a trial."""
    return psutil.Process(owner_of(paths, number))


def kill_family(root: int) -> list[psutil.Process]:
    """Kills a process and all it started, and returns them; the root first, so that nothing is started anew."""
    family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
    return family


def assert_survived(
    spec: SearchSpec,
    state: Path,
    twin: Mapping[int, TrialRecord],
    repeated: int | None = None,
    but: Container[int] = (),
) -> dict[int, TrialRecord]:
    """Judges a search that was interrupted and has ended; returns its records.

    Every trial occurs once everywhere with the same status, and no run stays RUNNING (`assert_all_agree`); every
    milestone is in MLflow once; each trial has the settings, the status, the numbers and the checkpoint of the twin's.

    Args:
        spec: The study.
        state: Its state folder.
        twin: The records of the same study, never interrupted; it may have more of them.
        repeated: Milestones that may have been trained twice: one a running trial and interruption; None: any.
        but: Trials that may differ from the twin's.
    """
    paths = StudyPaths(state, spec.name)
    records = assert_all_agree(spec, state)
    assert sorted(records) == list(range(spec.budget.trials))
    kept = {record.number for record in contenders(records.values(), spec)[: spec.retention.keep_best]}
    for number, record in records.items():
        if number in but:
            continue
        got, expected = outcome(record), outcome(twin[number])
        if but:
            # A trial that failed leaves its place among the kept ones to the next best.
            expected["checkpoint"] = f"step-{record.steps:08}" if number in kept else None
        differing = {
            name: (got.get(name), expected.get(name))
            for name in {*got, *expected}
            if got.get(name) != expected.get(name)
        }
        assert not differing, f"trial {number} differs from its twin: {differing}; its tags: {record.tags}"
        every, last = spec.base_spec.train.eval_every, record.steps
        steps = metric_steps(spec, paths, str(record.mlflow_id), "validation/nll")
        assert steps == list(range(every, last + 1, every)), f"trial {number}'s milestones in MLflow: {steps}"
    if repeated is not None:
        assert num_repeated(state) <= repeated
    return records


def outcome(record: TrialRecord) -> dict[str, Any]:
    """Returns what an interruption must not change of a trial, by name."""
    return {
        **{name: value for name, value in record.metrics.items() if not name.startswith(MEASURED)},
        **{f"setting {name}": value for name, value in record.overrides.items()},
        "status": record.status,
        "run_id": record.run_id,
        "steps": record.steps,
        "checkpoint": record.checkpoint and Path(record.checkpoint).name,
    }


def num_repeated(state: Path) -> int:
    """Returns how many milestones of the stub were trained more than once, all trials together."""
    trained = Counter((state / "starts.log").read_text().splitlines())
    return sum(times - 1 for times in trained.values())


def as_words(settings: Mapping[str, Any]) -> str:
    """Returns settings as `drive` takes them."""
    return json.dumps(settings)
