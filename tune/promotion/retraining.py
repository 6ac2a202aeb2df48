"""Trains the candidates of a promotion again with fresh seeds, as `t5vqvae rerun STUDY N --seed S` trains a trial.

The runs lie in the study's folder `fresh`, and in MLflow under the study, next to its trials. A run that has ended has
a record and is not trained again, a failed one neither; one that was interrupted resumes from its newest checkpoint.
Each keeps its last checkpoint, because other candidates or seeds may choose another one later; `t5vqvae remove` deletes
them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from t5vqvae.errors import SettingError
from t5vqvae.runs.attempt import Attempt
from t5vqvae.runs.freed_memory import free_memory
from t5vqvae.runs.tracked_run import TRAINER, TrackedRun
from tune.promotion.candidate import TEST_FILE
from tune.promotion.candidates import Candidate, Choice, candidates_of, choose, fresh_seeds, kind_of
from tune.promotion.sentence_scores import SENTENCES_FILE
from tune.records.fresh_runs import TAG, fresh_folder, fresh_key, known_fresh
from tune.records.record import FILE, TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.records.trial_names import trial_name
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.runs.follow import Report
    from t5vqvae.spec.run import RunSpec
    from t5vqvae.tracking import Tracker


@dataclass(frozen=True)
class Retraining:
    """Trains trials of a study with fresh seeds.

    Attributes:
        paths: The study's files.
        spec: The study.
        tracker: The study's tracker.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.
        console: Where progress is printed; None: stderr.
    """

    paths: StudyPaths
    spec: SearchSpec
    tracker: Tracker
    trainer: str = TRAINER
    console: Console | None = None

    def choice(self, rules: PromotionRules) -> Choice:
        """Returns the candidate that fresh seeds choose; what is missing of their runs is trained.

        Raises:
            UserError: If no trial counts with fresh seeds, or another process trains one of the runs.
        """
        assert rules.fresh_seeds is not None, "nothing is trained again without fresh seeds"
        records = read_records(self.paths.trials)
        seeds = fresh_seeds(self.spec, rules.fresh_seeds)
        chosen = candidates_of(records, self.spec, rules)
        found = []
        for place, record in enumerate(chosen, start=1):
            head = f"candidate {place} of {len(chosen)}, trial {record.number}, seed"
            runs = (self._run(record, seed, f"{head} {seed} ({n} of {len(seeds)})") for n, seed in enumerate(seeds, 1))
            found.append(Candidate(record, tuple(runs), self.spec))
            self._say(f"candidate {place} of {len(chosen)}, {found[-1].sentence}")
        return choose(found, self.spec, kind_of(chosen, records, self.spec))

    def _run(self, record: TrialRecord, seed: int, head: str) -> TrialRecord:
        """Returns the record of a trial's run with a fresh seed; trains what is missing of it."""
        settings = {**record.overrides, "seed": seed}
        known = known_fresh(self.paths, record.number, settings, self.spec.run_spec(settings))
        if known is not None:
            self._say(f"{head}: trained before")
            return known
        from t5vqvae.runs.in_process import followed_here
        from t5vqvae.training import checkpoint

        self._say(f"{head}: training")
        run = self._tracked(record, seed, settings)
        for name in (FILE, TEST_FILE, SENTENCES_FILE):  # of what was trained here before: of other weights
            (run.directory / name).unlink(missing_ok=True)
        try:
            last = followed_here(run, self._shown, "wait for it; both would train the same run", raises=False)
        finally:
            free_memory()
        checkpoint.keep_newest(run.directory, 1)
        fresh = self._record(record.number, settings, last)
        fresh.write(run.directory)
        if fresh.status == "failed":
            self._say(f"{head}: failed, see error.txt; delete {run.directory} to train it again")
        return fresh

    def _record(self, number: int, settings: dict[str, Any], last: Report) -> TrialRecord:
        """Returns the record of a run that has ended: completed, diverged, or failed like a trial of a search."""
        ended: Any = last.status
        return TrialRecord(
            study=self.spec.name,
            number=number,
            overrides=settings,
            run_id=last.run_id,
            mlflow_id=last.mlflow_id,
            status=ended,
            steps=int(last.metrics.get("progress/step", 0)),
            metrics=last.metrics,
            checkpoint=last.checkpoint,
            tags={**last.tags, TAG: str(settings["seed"])},
            seconds=last.seconds or 0.0,
        )

    def _tracked(self, record: TrialRecord, seed: int, settings: dict[str, Any]) -> TrackedRun:
        """Returns the run in the form in which it is trained, next to the study's trials in MLflow."""
        spec = self._fitted(self.spec.run_spec(settings), record.number)
        return TrackedRun(
            spec,
            fresh_folder(self.paths, record.number, seed),
            self.paths.cache,
            key=fresh_key(self.spec.name, record.number, seed),
            tracker=self.tracker,
            parent_id=self.tracker.find_study(self.spec.name),
            tags={"t5vqvae.study": self.spec.name, "t5vqvae.number": str(record.number), TAG: str(seed)},
            trainer=self.trainer,
            name=trial_name(record.number, spec.as_flat_dict(), settings),
            note=f"Trial {record.number} of study {self.spec.name}, trained again with a fresh seed for a promotion.",
        )

    def _fitted(self, spec: RunSpec, number: int) -> RunSpec:
        """Returns a run with the micro-batches that its trial needed for its GPU: one process does all workers' work.

        They change no result; where they would, or where the batch has fewer sentences, the run is as it was.
        """
        attempt = Attempt.read(self.paths.trial(number))
        if attempt is None or attempt.microbatches is None:
            return spec
        with suppress(SettingError):
            return spec.with_overrides({"train.microbatches": attempt.microbatches * self.spec.resources.workers})
        return spec

    @property
    def _shown(self) -> Console:
        return self.console or Console(stderr=True)

    def _say(self, line: str) -> None:
        self._shown.print(line, highlight=False, soft_wrap=True, markup=False)
