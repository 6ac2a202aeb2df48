"""Two settings on the validation split: models of several seeds each, compared over seeds and sentences.

Two models say which of them is better; which *setting* is better is a question about other seeds as well. Models are
paired by their seed, and seeds are resampled before sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError
from t5vqvae.evaluation.metrics import on_test
from t5vqvae.files import digest
from tune.promotion.on_validation import COMPARED, SAME_TOKENS, ValidationResult, refuse_other_sentences, same_tokens
from tune.promotion.sentence_scores import BLEU
from tune.records.models import FoundModel

if TYPE_CHECKING:
    from tune.analysis import SettingsComparison

Pair = tuple[FoundModel, FoundModel]
FORM = "name as many models of the one setting as of the other, all of the one first, with the same seeds"


def paired_by_seed(found: Sequence[FoundModel]) -> dict[int, Pair]:
    """Returns `{seed: (model of setting A, model of setting B)}`, seeds in increasing order.

    Args:
        found: All models of A, then as many of B.

    Raises:
        SettingError: If the models are no two settings with the same seeds.
    """
    if len(found) % 2:
        raise SettingError(f"{len(found)} models are no two settings; {FORM}")
    half = len(found) // 2
    a, b = _by_seed("A", found[:half]), _by_seed("B", found[half:])
    if a.keys() != b.keys():
        seeds = (", ".join(map(str, sorted(side))) for side in (a, b))
        raise SettingError("A has the seeds {} and B {}; {}".format(*seeds, FORM))
    pairs = {seed: (a[seed], b[seed]) for seed in sorted(a)}
    if not differing(list(pairs.values())):
        raise SettingError(f"A and B have the same settings; {FORM}")
    return pairs


def _by_seed(side: str, models: Sequence[FoundModel]) -> dict[int, FoundModel]:
    found: dict[int, FoundModel] = {}
    for model in models:
        if (other := found.get(model.spec.seed)) is not None:
            raise SettingError(
                f"{other.origin} and {model.origin} are both of setting {side} and of seed={model.spec.seed}; {FORM}"
            )
        found[model.spec.seed] = model
    return found


def differing(sides: Sequence[Sequence[FoundModel]]) -> list[str]:
    """Returns the settings but the seed in which the models of at least one group differ, sorted."""
    names = set[str]()
    for models in sides:
        flat = [model.spec.as_flat_dict() for model in models]
        paths = {path for settings in flat for path in settings} - {"seed"}
        names |= {path for path in paths if any(each.get(path) != flat[0].get(path) for each in flat)}
    return sorted(names)


def compare_settings_on_validation(
    results: Mapping[int, tuple[ValidationResult, ValidationResult]],
) -> dict[str, SettingsComparison]:
    """Compares two settings by every metric that is a sum over sentences; corpus BLEU is none.

    Args:
        results: For each seed the evaluations with the first and with the second setting.

    Raises:
        DataError: If they were not scored on the same sentences.
    """
    from t5vqvae.evaluation.scored_sentences import amounts
    from tune.analysis import SentenceScores, compare_settings  # scipy takes most of a second

    every = [result for pair in results.values() for result in pair]
    for other in every[1:]:
        refuse_other_sentences(every[0], other)
    data = digest([[row.index, row.reference] for row in every[0].sentences])
    alike = all(same_tokens(every[0], other) for other in every[1:])
    found = {}
    for metric in (*COMPARED, *(SAME_TOKENS if alike else ())):
        if on_test(metric) == BLEU:
            continue
        pairs = {}
        for seed, pair in results.items():
            a, b = (amounts(one.sentences, metric.partition("/")[2]) for one in pair)
            pairs[seed] = (SentenceScores("A", data, *a), SentenceScores("B", data, *b))
        found[metric] = compare_settings(pairs)
    return found
