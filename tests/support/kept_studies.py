"""A study on the disk as a search leaves it, without a search: records, events and a lock, with values by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from searches import stub_study

from t5vqvae.stages import PROGRESS
from tune.records.events import START, TRIAL, StudyEvents
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths

NLL = {0: 0.5, 1: 0.3, 2: 0.9, 3: 0.2}
"""The objective of each trial of a kept study; the last one breaks its constraint."""


def record(study: str, number: int, **changes: Any) -> TrialRecord:
    metrics = {"validation/nll": NLL[number], "rate/bits_per_token": 11.0 if number == 3 else 8.0}
    status: Any = "pruned" if number == 2 else "completed"
    settings = {"optim.learning_rate": 10.0 ** -(number + 1), "quantizer.decay": 0.9}
    history = {"10": {"validation/nll": NLL[number] + 0.1}, "40": {"validation/nll": NLL[number]}}
    kept = TrialRecord(
        study, number, settings, f"{number:016x}", None, status, 40, metrics, seconds=2.0, history=history
    )
    return replace(kept, **changes)


def keep_study(state: Path, name: str = "kept", trials: int = 4, ended: int = 4) -> StudyPaths:
    """Writes a search of `trials` trials of which the first `ended` have ended."""
    paths = StudyPaths(state, name)
    paths.root.mkdir(parents=True)
    stub_study(name, trials, question="Which rate learns?").write(paths.spec)
    for number in range(ended):
        record(name, number).write(paths.trial(number))
    return paths


def start_trial(paths: StudyPaths, number: int, planned: int, before: int, ago: float, step: int) -> None:
    """Notes a trial that a driver started, with a milestone at step 10 of 40, and its process at another step."""
    events = StudyEvents(paths.root)
    events.append(START, planned=planned, before=before, hours=None)
    lines = events.path.read_text().replace('{"time": ', f'{{"later": {ago}, "time": ').splitlines()
    kept = [json.loads(line) for line in lines if line]
    kept[-1]["time"] -= ago
    events.path.write_text("".join(f"{json.dumps(each)}\n" for each in kept))
    metrics = {"validation/nll": 0.7, "progress/step": 10.0, "progress/fraction": 0.25}
    events.append(TRIAL, number=number, status="running", metrics={}, overrides={"optim.learning_rate": 0.01})
    events.append(TRIAL, number=number, status="running", metrics=metrics, seconds=3.0, url=None)
    paths.trial(number).mkdir(parents=True, exist_ok=True)
    note = {"name": "training", "done": step, "total": 40, "note": ""}
    (paths.trial(number) / PROGRESS).write_text(json.dumps(note))
