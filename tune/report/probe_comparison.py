"""Compares the control of a probed model with that of another one, on the same edits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError
from t5vqvae.stages import stage
from tune.records.loading import loaded_model

if TYPE_CHECKING:
    from pathlib import Path

    from t5vqvae.measures.base import Row
    from t5vqvae.measures.control import Outcome
    from t5vqvae.measures.probing import ProbeResult
    from t5vqvae.spec.probe import ProbeSpec
    from tune.analysis.two_controls import ControlDifference
    from tune.records.models import FoundModel


def refuse_another_corpus(found: FoundModel, other: FoundModel, name: str) -> None:
    """Refuses a model whose edits are not those of the probed one.

    Raises:
        SettingError: If the corpora differ, or have no edits with known answers.
    """
    mine, its = found.spec.data.corpus, other.spec.data.corpus
    if mine.as_dict() != its.as_dict():
        differing = [key for key, value in mine.as_dict().items() if its.as_dict().get(key) != value]
        raise SettingError(
            f"--against {name}: it was trained on another corpus (data.corpus.{differing[0] if differing else 'name'}"
            " differs), so its edits are others; name a model of the same corpus"
        )
    if not mine.has_edits:
        raise SettingError(
            f"--against {name}: data.corpus.name={mine.name} has no edits with known answers; leave --against out"
        )


def with_comparison(
    result: ProbeResult, found: FoundModel, other: FoundModel, spec: ProbeSpec, cache_dir: Path
) -> tuple[ProbeResult, list[str]]:
    """Returns a probe's result with a table of the comparison, and its claims in sentences."""
    from tune.analysis.two_controls import compare_controls

    outcomes = [_outcomes(model, spec, cache_dir) for model in (found, other)]
    with stage("comparing the models"):
        differences = compare_controls(outcomes[0], outcomes[1], spec.seed)
    tables = {f"Control against {other.origin}": [_row(each) for each in differences], **result.tables}
    return replace(result, tables=tables), [sentence_of(each) for each in differences]


def sentence_of(found: ControlDifference) -> str:
    """Returns a claim with its numbers and its population."""
    scores = found.scores
    return (
        f"{found.name}: {scores.a:.3f} against {scores.b:.3f}, difference {scores.difference:+.3f}"
        f" [{scores.low:+.3f}, {scores.high:+.3f}], adjusted p = {found.p_adjusted:.3g}: {found.verdict};"
        f" {found.num_edits} edits of {scores.num_sentences} sentences, these two models"
    )


def _row(found: ControlDifference) -> Row:
    scores = found.scores
    return {
        "part": found.name,
        "this model": scores.a,
        "the other": scores.b,
        "difference": scores.difference,
        "low": scores.low if math.isfinite(scores.low) else None,  # of one sentence
        "high": scores.high if math.isfinite(scores.high) else None,
        "adjusted p": found.p_adjusted,
        "edits": found.num_edits,
        "sentences": scores.num_sentences,
        "verdict": found.verdict,
    }


def _outcomes(found: FoundModel, spec: ProbeSpec, cache_dir: Path) -> Sequence[Outcome]:
    from t5vqvae.measures.probing import edit_outcomes

    edited = edit_outcomes(loaded_model(found.folder), found.spec, spec, cache_dir)
    return edited.sparse or edited.whole
