"""Registers a tested trial and compares it with the champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.evaluation.metrics import JOINT_RATE, RATE, on_test, tracked
from t5vqvae.training.threads import THREADS
from tune.promotion.candidate import TestResult
from tune.promotion.gate import across_tokenizers, compared
from tune.promotion.paired import ARTIFACT, Paired, VersionScores, keep, paired
from tune.promotion.sentence_scores import KeptScores, artifact_digest
from tune.records.record import TrialRecord
from tune.records.study_paths import trial_key
from tune.records.study_tracker import tracked_anew
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.model_registry import Registry, Version


METRICS, DATA = "t5vqvae.test_metrics", "t5vqvae.data_fingerprint"
STRINGS = "t5vqvae.test_strings"
"""The tag of a version with the hash of its test split's raw strings; earlier versions lack it."""


def registered(
    tracker: Tracker,
    name: str,
    spec: SearchSpec,
    record: TrialRecord,
    result: TestResult,
    folder: Path,
    sentences: Path,
) -> Version:
    """Returns the registered version of a trial; registers the trial if it has none.

    Args:
        tracker: The study's tracker.
        name: Name of the registered model.
        spec: The study.
        record: The trial.
        result: Its test.
        folder: Its checkpoint.
        sentences: The scores of its sentences, if they were kept; MLflow receives a copy.
    """
    registry = tracker.registry(name)
    known = registry.find(result.identity)
    if known is not None and known.tags.get(DATA) == result.data_fingerprint:
        return known
    mlflow_id = (
        tracker.known(record.mlflow_id)
        or tracker.find_trial(trial_key(record.study, record.number))
        or _tracked(tracker, spec, record)
    )
    model_uri = tracker.log_model(mlflow_id, folder)
    tracker.add_final(mlflow_id, {tracked(key): value for key, value in result.metrics.items()}, model_uri)
    scores = KeptScores.read(sentences)
    if scores is not None and not scores.belong_to(artifact_digest(folder / "model"), result.data_fingerprint):
        scores = None
    if scores is not None:
        keep(tracker, mlflow_id, sentences, scores)
    tags = {
        "study": spec.name,
        "trial": record.number,
        **({} if result.threads is None else {THREADS: result.threads}),
        DATA: result.data_fingerprint,
        STRINGS: result.test_strings,
        ARTIFACT: None if scores is None else scores.artifact,
        METRICS: json.dumps({**record.metrics, **result.metrics}),
        **{f"test.{key}": f"{value:.6g}" for key, value in _headline(spec, record, result).items()},
    }
    settings = ", ".join(f"{path}={value}" for path, value in record.overrides.items())
    description = f"Trial {record.number} of study {spec.name}: {settings}"
    return registry.register(model_uri, mlflow_id, result.identity, tags, description)


def _headline(spec: SearchSpec, record: TrialRecord, result: TestResult) -> dict[str, float]:
    """Returns the test metrics that a version's page shows: the objectives and the rates."""
    metrics = {**record.metrics, **result.metrics}
    names = [on_test(objective.metric) for objective in spec.objectives] + [on_test(RATE), on_test(JOINT_RATE)]
    return {name: metrics[name] for name in names if name in metrics}


def _tracked(tracker: Tracker, spec: SearchSpec, record: TrialRecord) -> str:
    """Makes an MLflow run for a trial that has none, because the server was away or has lost it; returns its id."""
    parent = tracker.open_study(spec.as_flat_dict(), {"t5vqvae.study": spec.name})
    tracker.close(parent, "completed")
    return tracked_anew(tracker, parent, record, spec.run_spec(record.overrides), {})


def compare(
    spec: SearchSpec, metrics: Mapping[str, float], result: TestResult, champion: Version | None, version: Version
) -> tuple[float | None, bool, str]:
    """Returns the advantage over the champion, whether it suffices, and the reason in a sentence."""
    if champion is None:
        return None, True, "no version held the alias"
    if same(champion, version):
        return None, True, f"version {version.version} holds the alias already"
    if not _same_strings(champion, result):
        return None, False, f"version {champion.version} was tested on other data, so the two cannot be compared"
    theirs = json.loads(champion.tags.get(METRICS, "{}"))
    objective = spec.objectives[0]
    if champion.tags.get(DATA) != result.data_fingerprint:
        objective = across_tokenizers(objective)
    effect, sentence = compared(objective, metrics, theirs, f"version {champion.version}")
    return effect, effect is not None and effect > 0, sentence


def _same_strings(champion: Version, result: TestResult) -> bool:
    """Returns whether a version was tested on the same raw strings, however it reads them."""
    strings = champion.tags.get(STRINGS)
    known = strings is not None and strings == result.test_strings
    return known or champion.tags.get(DATA) == result.data_fingerprint


def compare_sentences(
    tracker: Tracker,
    registry: Registry,
    spec: SearchSpec,
    result: TestResult,
    champion: Version | None,
    version: Version,
    state: Path,
) -> Paired:
    """Compares a version with the champion on the same sentences, and tags it with what was found.

    Returns:
        No line where there is no champion, or one that was tested on other data, which is among `compare`'s reasons.
    """
    if champion is None or same(champion, version) or not _same_strings(champion, result):
        return Paired(())
    if champion.tags.get(DATA) != result.data_fingerprint:
        return Paired((f"no paired interval: version {champion.version} read the same strings in another way",))
    found = paired(
        VersionScores(tracker, registry, result.data_fingerprint, state), spec.objectives[0], version, champion
    )
    if found.tags:
        registry.tag(version.version, found.tags)
    return found


def same(one: Version | None, other: Version) -> bool:
    """Returns whether two handles name one version."""
    return one is not None and one.version == other.version
