"""What `compare` prints of two settings, each with models of several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.evaluation.metrics import METRICS
from tune.operations.printed_rows import PrintedRow, Rows

if TYPE_CHECKING:
    from tune.analysis import SettingsComparison
    from tune.promotion.two_settings import Pair
    from tune.records.models import FoundModel

MOST_NAMED = 6
"""How many settings in which models differ are named."""


def settings_rows(found: Sequence[FoundModel], cache: Path, changes: Mapping[str, Any]) -> Rows:
    """Returns the differences of two settings' metrics, with intervals over seeds and sentences.

    Args:
        found: All models of setting A, then as many of setting B.
        cache: Cache of prepared data.
        changes: Settings of `evaluate.` for every model.

    Raises:
        UserError: If the models are no two settings, or cannot be evaluated on the same sentences.
    """
    from tune.promotion.on_validation import evaluate_on_validation
    from tune.promotion.two_settings import compare_settings_on_validation, paired_by_seed

    results, pairs = {}, paired_by_seed(found)
    for seed, pair in pairs.items():
        a, b = (evaluate_on_validation(model, cache, changes, per_sentence=True) for model in pair)
        results[seed] = (a, b)
    compared = compare_settings_on_validation(results)
    rows = [_row(metric, each) for metric, each in compared.items()]
    return Rows(rows, _notes(pairs, next(iter(compared.values()))), hidden=["key"])


def _row(metric: str, found: SettingsComparison) -> PrintedRow:
    numbers = {"A": found.a, "B": found.b, "difference": found.difference, "low": found.low, "high": found.high}
    direction = METRICS[metric].direction
    assert direction is not None, "what models are compared by has a better end"
    return {"metric": metric.partition("/")[2], **numbers, "A_is": found.verdict(direction), "key": metric}


def _notes(pairs: Mapping[int, Pair], found: SettingsComparison) -> list[str]:
    """Returns what was compared, and what the intervals are of."""
    from tune.promotion.two_settings import differing

    sides = [[pair[i] for pair in pairs.values()] for i in (0, 1)]
    notes = [f"{name}: {'; '.join(model.origin for model in side)}" for name, side in zip("AB", sides, strict=True)]
    notes.append(f"A and B differ in {_named(differing(list(pairs.values())))}")
    if within := differing(sides):
        notes.append(f"the seeds of a setting differ in {_named(within)}, which counts as luck of the seed")
    notes.append(
        f"95% intervals, each metric alone: {found.num_seeds} seeds were resampled, then {found.num_sentences}"
        " validation sentences; they hold for training with other seeds, on text like these sentences"
    )
    return notes


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
