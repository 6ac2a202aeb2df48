"""Compares a trial with the champion on the same sentences of the test split.

The comparison is printed next to the verdict, which stays what `registration.compare` says. It shows how far chance in
the sentences may have decided: a paired bootstrap resamples them, both models' together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import UserError
from t5vqvae.evaluation.metrics import on_test
from tune.promotion.candidate import score_again
from tune.promotion.sentence_scores import BLEU, BY_SENTENCE, SENTENCES_FILE, KeptScores
from tune.records.models import downloaded_model
from tune.spec.objective import Objective

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.model_registry import Registry, Version
    from tune.analysis import ModelComparison

ARTIFACT = "t5vqvae.artifact"
"""The tag of a version with the digest of its model."""


@dataclass(frozen=True)
class Paired:
    """The comparison of a version with the champion on the same sentences: lines to print, and tags of the version."""

    lines: tuple[str, ...]
    tags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionScores:
    """The scores of sentences of registered versions: those that MLflow keeps, or measured again.

    Attributes:
        tracker: Where the versions are tracked.
        registry: The registered model.
        data: Fingerprint of the data of all versions.
        state: The state folder, whose cache holds prepared data and downloaded models.
    """

    tracker: Tracker
    registry: Registry
    data: str
    state: Path

    def of(self, version: Version) -> tuple[KeptScores, tuple[str, ...]]:
        """Returns a version's scores, and a line if it was tested again for them.

        Raises:
            UserError: If its model cannot be loaded, or its data cannot be prepared.
        """
        kept = self._kept(version)
        if kept is not None:
            return kept, ()
        found = downloaded_model(self.registry, version, self.state)
        scores = score_again(found, self.data, self.state / "cache")
        with tempfile.TemporaryDirectory() as folder:
            keep(self.tracker, version.mlflow_id, scores.write(Path(folder) / SENTENCES_FILE), scores)
        self.registry.tag(version.version, {ARTIFACT: scores.artifact})
        return scores, (f"version {version.version} kept no scores of its sentences: it was tested again",)

    def _kept(self, version: Version) -> KeptScores | None:
        """Returns the scores that MLflow has of a version; None if it has none, or of another model or other data."""
        artifact = version.tags.get(ARTIFACT)
        if not artifact or not version.mlflow_id:
            return None
        with tempfile.TemporaryDirectory() as folder:
            name = f"{_place(artifact, self.data)}/{SENTENCES_FILE}"
            file = self.tracker.fetch_file(version.mlflow_id, name, Path(folder))
            scores = None if file is None else KeptScores.read(file)
        return scores if scores is not None and scores.belong_to(artifact, self.data) else None


def keep(tracker: Tracker, mlflow_id: str, file: Path, scores: KeptScores) -> None:
    """Copies a file of scores to the run of a registered version; a version without a run has no place for it."""
    if mlflow_id:
        tracker.log_file(mlflow_id, file, _place(scores.artifact, scores.data))


def _place(artifact: str, data: str) -> str:
    """Returns the folder of the scores among a run's artifacts; a run may have two checkpoints, and two test sets."""
    return f"test/{artifact[:12]}-{data[:12]}"


def paired(found: VersionScores, objective: Objective, version: Version, champion: Version) -> Paired:
    """Compares a version with the champion by an objective's test metric, on the same sentences.

    Args:
        found: The scores of both.
        objective: Decides the metric and its direction.
        version: The version that may become champion.
        champion: The version that holds the alias; it was tested on the same data.

    Returns:
        The claim with its interval; one line that says why there is none, if there is none.
    """
    metric = on_test(objective.metric)
    if metric not in BY_SENTENCE:
        return Paired((f"no paired interval: {metric} is no sum over sentences",))
    try:
        (mine, said), (theirs, also_said) = found.of(version), found.of(champion)
    except UserError as error:
        return Paired((f"no paired interval: {error}",))
    names = [f"version {v.version} ({s.artifact[:12]})" for v, s in ((version, mine), (champion, theirs))]
    reason = _incomparable(mine, theirs, metric)
    if reason is not None:
        return Paired((*said, *also_said, f"no paired interval of {' and '.join(names)}: {reason}"))
    claim = _compared(mine, theirs, names, objective)
    return Paired((claim.sentence, *said, *also_said), _tags(claim))


def _incomparable(mine: KeptScores, theirs: KeptScores, metric: str) -> str | None:
    """Returns why two models' scores cannot be paired, None if they can."""
    if not mine.sentences and not theirs.sentences:
        return "the test split has no sentence"
    keys = [[(row.index, row.reference) for row in scores.sentences] for scores in (mine, theirs)]
    if keys[0] != keys[1]:
        return f"{len(keys[0])} and {len(keys[1])} sentences were scored, and they are not the same"
    if metric != BLEU and min(mine.ratio(metric)[1]) <= 0:
        return f"a sentence has nothing that {metric} counts"
    return None


def _compared(mine: KeptScores, theirs: KeptScores, names: Sequence[str], objective: Objective) -> ModelComparison:
    from tune.analysis import SentenceScores, SentenceTexts, compare_models  # scipy takes most of a second

    metric, sides = on_test(objective.metric), list(zip(names, (mine, theirs), strict=True))
    if metric == BLEU:
        texts = [
            SentenceTexts(name, s.data, [row.decoded for row in s.sentences], [row.reference for row in s.sentences])
            for name, s in sides
        ]
        return compare_models(texts[0], texts[1], metric, objective.direction)
    scores = [SentenceScores(name, s.data, *s.ratio(metric)) for name, s in sides]
    return compare_models(scores[0], scores[1], metric, objective.direction)


def _tags(claim: ModelComparison) -> dict[str, object]:
    """Returns the claim as tags of the version that was compared."""
    found = claim.scores
    values = {"difference": found.difference, "low": found.low, "high": found.high, "p_value": found.p_value}
    return {
        "paired.against": claim.b,
        "paired.metric": claim.metric,
        "paired.verdict": claim.verdict,
        "paired.sentences": found.num_sentences,
        **{f"paired.{name}": f"{value:.6g}" for name, value in values.items()},
    }
