"""Registers a tested model as a version, with its card, its short tags, and files of its test."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.data.gate_split import WORDS, GateData
from t5vqvae.evaluation.metric import JOINT_RATE, RATE
from t5vqvae.evaluation.metrics import on_test, tracked
from t5vqvae.files import write_json
from t5vqvae.training.threads import THREADS
from tune.promotion.candidate import TestResult
from tune.promotion.candidates import Choice
from tune.promotion.model_card import CardFacts, model_card
from tune.promotion.sentence_scores import SENTENCES_FILE, KeptScores, artifact_digest
from tune.records.fresh_runs import folder_of, key_of
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracked_anew
from tune.records.trial_labels import labels_of
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.model_registry import Version

DATA = "t5vqvae.data_fingerprint"
STRINGS = "t5vqvae.test_strings"
"""The tag of a version with the hash of its test split's raw strings; earlier versions lack it."""
ARTIFACT = "t5vqvae.artifact"
"""The tag of a version with the digest of its model."""
HALF = "t5vqvae.test_half"
"""The tag of a version: whether half of every test set was left out of its test; earlier versions lack it."""
METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Tested:
    """A tested model, ready to be registered.

    Attributes:
        paths: Its study's files.
        spec: Its study.
        record: Its trial.
        result: Its test.
        folder: Its checkpoint.
        gate: The sentences that decide about it.
        choice: How fresh seeds chose it; None: it is the best trial as the search left it.
    """

    paths: StudyPaths
    spec: SearchSpec
    record: TrialRecord
    result: TestResult
    folder: Path
    gate: GateData
    choice: Choice | None = None

    @cached_property
    def licence(self) -> str | None:
        """The licence of its data; the corpus is read for it."""
        return self.spec.run_spec(self.record.overrides).data.corpus.load(self.paths.cache).licence


def registered(tracker: Tracker, name: str, tested: Tested) -> Version:
    """Returns the registered version of a model; registers it if it has none.

    Runs of one identity may have other weights: devices and workers, which do not count, round differently.

    Args:
        tracker: The study's tracker.
        name: Name of the registered model.
        tested: The model.
    """
    record, result = tested.record, tested.result
    registry = tracker.registry(name)
    known, artifact = registry.find(result.identity), artifact_digest(tested.folder / "model")
    if known is not None and (
        known.tags.get(DATA),
        known.tags.get(HALF, "False"),
        known.tags.get(ARTIFACT, artifact),
    ) == (result.data_fingerprint, str(result.half), artifact):
        return known
    mlflow_id = (
        tracker.known(record.mlflow_id) or tracker.find_trial(key_of(record)) or _tracked(tracker, tested.spec, record)
    )
    model_uri = tracker.log_model(mlflow_id, tested.folder)
    tracker.add_final(mlflow_id, {tracked(key): value for key, value in result.metrics.items()}, model_uri)
    _log_test(tracker, mlflow_id, tested, artifact)
    card = card_of(tested, model_uri)
    return registry.register(model_uri, mlflow_id, result.identity, _tags(tested, artifact), card)


def card_of(tested: Tested, uri: str, *, compared: bool = False) -> str:
    """Returns the card of a model.

    Args:
        tested: The model.
        uri: Where to load it from.
        compared: Whether it was compared with a champion.
    """
    facts = _facts(tested, uri, compared)
    return model_card(facts, tested.spec.run_spec(tested.record.overrides), tested.result.metrics)


def _tags(tested: Tested, artifact: str) -> dict[str, object]:
    """Returns the tags of a version: short values, by which versions are found and told apart."""
    spec, record, result = tested.spec, tested.record, tested.result
    return {
        "study": spec.name,
        "trial": record.number,
        "corpus": spec.base_spec.data.corpus.name,
        "seed": spec.run_spec(record.overrides).seed,
        **({} if result.threads is None else {THREADS: result.threads}),
        DATA: result.data_fingerprint,
        HALF: result.half,
        STRINGS: result.test_strings,
        ARTIFACT: artifact,
        **{f"test.{key}": f"{value:.6g}" for key, value in _headline(tested).items()},
    }


def _facts(tested: Tested, uri: str, compared: bool) -> CardFacts:
    spec, gate = tested.spec, tested.gate
    run, choice = spec.run_spec(tested.record.overrides), tested.choice
    ended = f"{len(read_records(tested.paths.trials))} trials that had ended"
    return CardFacts(
        study=spec.name,
        question=spec.question,
        trial=tested.record.number,
        chosen_from=f"the best on validation of {ended}" if choice is None else f"{choice.out_of}; {ended}",
        seeds=f"Seed {run.seed} alone; other seeds were not trained."
        if choice is None
        else f"{choice.values}; {choice.seed}.",
        licence=tested.licence,
        data=tested.result.data_fingerprint,
        decided=f"{len(gate.splits['gate'])} sentences, {WORDS[gate.kind]}" if compared else None,
        tables="half of the test split; the other half is left for decisions"
        if tested.result.half
        else "the test split",
        uri=uri,
        labels=labels_of(tested.record.tags),
    )


def _log_test(tracker: Tracker, mlflow_id: str, tested: Tested, artifact: str) -> None:
    """Adds the metrics of the test, and the scores of its sentences, to the artifacts of the version's run."""
    data = tested.result.scored
    half = "-half" if tested.result.half else ""
    # A run may have two checkpoints, and two test sets.
    place = f"test/{artifact[:12]}-{tested.result.data_fingerprint[:12]}{half}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / METRICS_FILE
        write_json(file, {**tested.record.metrics, **tested.result.metrics}, indent=1)
        tracker.log_file(mlflow_id, file, place)
    sentences = folder_of(tested.paths, tested.record) / SENTENCES_FILE
    scores = KeptScores.read(sentences)
    if scores is not None and scores.belong_to(artifact, data):
        tracker.log_file(mlflow_id, sentences, place)


def _headline(tested: Tested) -> Mapping[str, float]:
    """Returns the test metrics that a version's page shows: the objectives and the rates."""
    metrics = {**tested.record.metrics, **tested.result.metrics}
    wanted = [objective.metric for objective in tested.spec.objectives] + [RATE, JOINT_RATE]
    return {name: metrics[name] for name in map(on_test, wanted) if name in metrics}


def _tracked(tracker: Tracker, spec: SearchSpec, record: TrialRecord) -> str:
    """Makes an MLflow run for a trial that has none, because the server was away or has lost it; returns its id."""
    parent = tracker.open_study(spec.as_flat_dict(), {"t5vqvae.study": spec.name})
    tracker.close(parent, "completed")
    return tracked_anew(tracker, parent, record, spec.run_spec(record.overrides), {})
