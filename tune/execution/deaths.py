"""What follows when a trial's process dies: a retry from its checkpoint, fewer trials at once, or the trial's failure.

A first death costs nothing but the steps since the checkpoint. Where memory may be the reason (Ray's memory monitor, or
a process that vanished, as the kernel's killer leaves it) and it happens again, half as many trials run at once. A
trial that dies even so has failed, and the others get their places back.
"""

from __future__ import annotations

import math
import pickle
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ray.exceptions import RayActorError, RayTaskError

from t5vqvae.files import read_json, write_json
from tune.execution.ray_workarounds import MemoryKillError
from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

FILE = "deaths.json"
"""The file of a trial's folder with a line for each death of its process."""
TAG = "t5vqvae.deaths"
MAX_DEATHS = 2
"""How often a trial is retried whose process died by its own fault."""
BLOW_SECONDS = 1.0
"""Deaths within this time are one blow, unless a trial dies twice."""
VANISHED = "connection error code"
"""A part of Ray's message about a process that ended without a word: SIGKILL, as from the kernel, or a crash."""


@dataclass(frozen=True)
class Death:
    """The death of a trial's process.

    Attributes:
        reason: In a few words.
        step: The step of its last report.
        for_memory: Whether memory was the reason: True, False, or None where nobody knows.
        counts: False if nothing was wrong with the trial: it never started, or its node was taken away.
    """

    reason: str
    step: int
    for_memory: bool | None = False
    counts: bool = True

    @classmethod
    def of(cls, trial: Trial) -> Death:
        """Returns the death of a trial as Ray Tune knows it."""
        step = int((trial.last_result or {}).get("progress/step", 0))
        error = _last_error(trial)
        if isinstance(error, RayTaskError):
            error = error.cause
        if trial.status == "PENDING":  # its reused process was found dead
            return cls("its process died before it started", step, counts=False)
        if isinstance(error, MemoryKillError):
            return cls("Ray's memory monitor killed its process", step, for_memory=True)
        if error is None:
            return cls("its process was lost", step)
        if not isinstance(error, RayActorError):
            return cls(f"{type(error).__name__}: {error}".splitlines()[0][:200], step)
        if VANISHED in str(error):
            return cls("its process was killed, perhaps by the system for its memory", step, for_memory=None)
        return cls("its process or its node was lost", step, counts=not error.preempted)


def _last_error(trial: Trial) -> Exception | None:
    """Returns what Ray Tune caught last of a trial; `Trial.get_pickled_error` looks for it in another folder."""
    path = trial.pickled_error_file
    return pickle.loads(Path(path).read_bytes()) if path and Path(path).is_file() else None


class _Blow:
    """Deaths of several processes in one moment: Ray's memory monitor may kill more than one.

    Attributes:
        running: Trials that Ray had before the first of them died.
    """

    def __init__(self) -> None:
        self.running = 0
        self._numbers: set[int] = set()
        self._began = -math.inf

    def takes(self, number: int, running: int) -> bool:
        """Adds a trial that died just now and returns whether it belongs to the last blow; else a new one begins."""
        now = time.monotonic()
        same = now - self._began < BLOW_SECONDS and number not in self._numbers
        if not same:
            self._began, self.running, self._numbers = now, running, set()
        self._numbers.add(number)
        return same


class DeadWorkers:
    """Decides about the trials of one start whose processes died.

    Args:
        concurrent: Trials at once; None: no limit.
        paths: The study, whose folders keep the deaths for later starts; None: they are not kept.

    Attributes:
        limit: Trials that may run at once now.
    """

    def __init__(self, concurrent: int | None = None, paths: StudyPaths | None = None) -> None:
        self.paths = paths
        self.concurrent = self.limit = math.inf if concurrent is None else concurrent
        self.retried: set[str] = set()
        self._deaths: dict[str, Death] = {}  # by Ray's id of the trial
        self._at_death: dict[str, int] = {}  # trials with a process; others that Ray has wait for a node
        self._counted: Counter[int] = Counter()  # by number
        self._blow = _Blow()
        self._num_blows = 0
        self._history: dict[int, list[str]] = {}
        self._steps: dict[int, int] = {}

    def died(self, trial: Trial, running: int | None = None) -> None:
        """Notes a death, and how many trials had a process then; Ray Tune reports it to the scheduler first."""
        self._deaths[trial.trial_id] = Death.of(trial)
        if running:
            self._at_death[trial.trial_id] = running

    def retries(self, trial_id: str, number: int, running: int) -> bool:
        """Returns whether a trial that ended with an error is retried; with fewer at once where memory was short.

        Args:
            trial_id: Ray's.
            number: The trial's, which stays the same.
            running: Trials that Ray had when it died, itself included.
        """
        death = self._deaths.get(trial_id)
        if death is None:
            return False
        again = not self._blow.takes(number, min(running, self._at_death.get(trial_id, running)))
        running = self._blow.running
        fewer = death.for_memory is not False and again and self._fewer(number, running)
        if death.counts:
            # Others that ran at the time may have taken the memory; alone, the trial itself did.
            self._counted[number] += not (death.for_memory and running > 1)
            self._note(number, death, fewer)
        if self._counted[number] > MAX_DEATHS:
            self.limit = self.concurrent
            return False
        self.retried.add(trial_id)
        return True

    def reason(self, trial_id: str) -> str | None:
        """Returns why a trial's process died, in a few words; None if it is not known to be dead."""
        return self._deaths[trial_id].reason if trial_id in self._deaths else None

    def tags(self, number: int) -> dict[str, str]:
        """Returns the tag that lists the deaths of a trial's process; empty without any."""
        lines = self._lines(number)
        return {TAG: "; ".join(lines)} if lines else {}

    def _fewer(self, number: int, running: int) -> bool:
        """Halves the trials at once if it is not the first blow and the last halving has taken effect."""
        self._num_blows += 1
        if self._num_blows == 1 or running == 1 or running > self.limit:
            return False
        self.limit = math.ceil(running / 2)
        why = "a trial's process died again, and memory may be short"
        print(f"trial {number}: {why}; from now on at most {_trials(self.limit)} at once", flush=True)
        return True

    def _note(self, number: int, death: Death, fewer: bool) -> None:
        self._steps[number] = step = max(death.step, self._steps.get(number, 0))  # Ray forgets it at a retry
        line = f"{death.reason} after step {step}"
        lines = [*self._lines(number), f"{line}, then at most {_trials(self.limit)} at once" if fewer else line]
        self._history[number] = lines
        if self.paths is not None:
            write_json(self.paths.trial(number) / FILE, lines)

    def _lines(self, number: int) -> list[str]:
        if number not in self._history:
            path = None if self.paths is None else self.paths.trial(number) / FILE
            self._history[number] = read_json(path) if path is not None and path.is_file() else []
        return self._history[number]


def _trials(number: float) -> str:
    return f"{number:g} trial{'' if number == 1 else 's'}"
