"""The commands `evaluate` and `compare`: how good a trained model is, and where two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t5vqvae.config import parse_words
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metrics import METRICS, find
from tune.command_line import Command, Group, State, words_argument
from tune.operations.compared_settings import settings_rows
from tune.operations.opened import MODEL
from tune.operations.options import Form, Model, Output, within
from tune.operations.printed_rows import UNMARKED, PrintedRow, Rows
from tune.operations.search_end import next_command
from tune.records.study_paths import StudyPaths, is_there, state_dir
from tune.records.trial_labels import labels_in_words

if TYPE_CHECKING:
    from pathlib import Path

    from tune.analysis import ModelComparison
    from tune.promotion.on_validation import ValidationResult
    from tune.records.models import FoundModel

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def evaluate(
    model: Model,
    words: Annotated[
        list[str] | None, words_argument("", "Settings of evaluate, such as evaluate.num_generated=500.")
    ] = None,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """Measure a trained model on the validation split.

    Next to each metric stands what its training recorded at the checkpoint. The test split is left to promote.
    """
    changes = parse_words(list(words or []))
    for path in changes:
        if not path.startswith("evaluate."):
            raise SettingError(
                f"{path} is what the model was trained with; evaluate takes settings of evaluate.* alone"
            )
    from tune.records.models import find_model

    home = state_dir(state)
    found = find_model(model, home)
    _refuse_unknown(found, changes)
    from tune.promotion.on_validation import evaluate_on_validation

    result, recorded = evaluate_on_validation(found, home / "cache", changes), _recorded(found)
    rows: list[PrintedRow] = [
        {"metric": name, "value": value, "recorded": recorded.get(name), **_meaning(name)}
        for name, value in result.metrics.items()
    ]
    Rows(rows, [_with_labels(found)], hidden=["meaning"], yielding=["unit"]).write(form, output)


@app.command(cls=Command)
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL_A... MODEL_B...",
            help=f"{MODEL} Two models; or two settings: all models of the one, then all of the other.",
        ),
    ],
    sentences: Annotated[
        int, typer.Option(metavar="N", callback=within(2), help="Validation sentences to decode with all.")
    ] = 200,
    most: Annotated[int, typer.Option(metavar="N", callback=within(1), help="Sentences that differ to print.")] = 20,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print the metrics with their intervals as rows, not the sentences.")
    ] = False,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """Compare two trained models, or two settings, on the same sentences.

    Prints validation sentences that two models decode differently, and the difference of each metric with its 95%
    interval: a paired bootstrap over the sentences, for these two models alone; another seed may turn it around.
    Two settings are compared by models of the same seeds: `compare A0 A1 A2 B0 B1 B2` prints each metric's
    difference, and its interval over seeds and sentences; `rerun --seed` trains further seeds.
    """
    from tune.records.models import find_model

    _refuse_one(models)
    home = state_dir(state)
    found = [find_model(name, home) for name in models]
    _refuse_one_twice(models, found)
    number = {"evaluate.num_examples": sentences, "evaluate.num_generated": sentences, "evaluate.unsent": None}
    if len(found) > 2:
        settings_rows(found, home / "cache", number).write(form, output)
        return
    from tune.promotion.on_validation import compare_on_validation, evaluate_on_validation

    a, b = (evaluate_on_validation(each, home / "cache", number, per_sentence=True) for each in found)
    claims = compare_on_validation(a, b)
    notes = [f"on the validation split; A: {_with_labels(a.model)}; B: {_with_labels(b.model)}"]
    if metrics:
        rows = [_claim_row(claim) for claim in claims]
        Rows(rows, notes, hidden=["key"], yielding=["p_value"], titles={"p_value": "p"}).write(form, output)
        return
    printed = _differing(a, b, most)
    ending = _after_comparison(models[0], state)
    shown = replace(printed, notes=[*printed.notes, *notes, *map(_claim, claims), *ending])
    shown.write(form, output)


def _refuse_one(names: Sequence[str]) -> None:
    """Refuses a single model, before it is looked for."""
    if len(names) == 1:
        raise SettingError(
            f"compare {names[0]}: missing argument 'MODEL_B'; name a model to compare it with (t5vqvae compare --help)"
        )


def _refuse_one_twice(names: Sequence[str], found: Sequence[FoundModel]) -> None:
    """Refuses a model that is named twice."""
    named: dict[Path, str] = {}
    for name, model in zip(names, found, strict=True):
        if (other := named.get(model.folder)) is not None:
            raise SettingError(f"{other} and {name} are one model, {model.origin}; name two")
        named[model.folder] = name


def _after_comparison(model: str, state: Path | None) -> list[str]:
    """Returns what comes next where the first model is of a search: to test and register its best."""
    study = model.partition("/")[0]
    if not is_there(StudyPaths(state_dir(state), study).spec):
        return []
    return [f"next: {next_command(f'promote {study}', state)}  # test its best trial and register it"]


def _refuse_unknown(found: FoundModel, changes: dict[str, object]) -> None:
    """Refuses a setting of evaluate that does not exist."""
    known = [path for path in found.spec.as_flat_dict() if path.startswith("evaluate.")]
    for path in changes:
        if path not in known:
            raise SettingError(f"{path} is unknown{did_you_mean(path, known)}")


def _recorded(found: FoundModel, part: str = "metrics") -> dict[str, Any]:
    """Returns the metrics, or the tags, that were recorded with a checkpoint; none of a registered model."""
    from t5vqvae.errors import CheckpointError
    from t5vqvae.training import checkpoint

    try:
        return dict(checkpoint.read_milestone(found.folder.parent)[part])  # type: ignore[literal-required]
    except (CheckpointError, OSError, KeyError):
        return {}


def _with_labels(found: FoundModel) -> str:
    """Returns the origin of a model, and its labels where it has some."""
    words = labels_in_words(_recorded(found, "tags"))
    return f"{found.origin} ({words})" if words else found.origin


def _meaning(name: str) -> dict[str, str]:
    metric = METRICS.get(name) or find(name)
    unit = "" if metric is None or metric.units == "1" else metric.units
    return {"unit": unit, "meaning": metric.description if metric else ""}


def _differing(a: ValidationResult, b: ValidationResult, most: int) -> Rows:
    """Returns the target and both texts of each sentence that two models decode differently."""
    from t5vqvae.data.texts import same_text

    pairs = list(zip(a.sentences, b.sentences, strict=True))
    differ = [(one, other) for one, other in pairs if not same_text(one.decoded, other.decoded)]
    rows: list[PrintedRow] = []
    compared: list[str | None] = []
    for one, other in differ[:most]:
        for name, text, exact in (
            ("target", one.reference, None),
            ("A", one.decoded, one.exact),
            ("B", other.decoded, other.exact),
        ):
            rows.append({"sentence": one.index, "model": name, "exact": exact, "text": text})
            compared.append(None if name == "target" else one.reference)
    only_a = sum(one.exact and not other.exact for one, other in differ)
    only_b = sum(other.exact and not one.exact for one, other in differ)
    first = f"; the first {most} are printed, --most N prints more" if len(differ) > most else ""
    words = f"marked: words that are not in the target; {UNMARKED}" if differ else ""
    counted = f"{len(differ)} of {len(pairs)} sentences differ: {only_a} right by A alone, {only_b} by B alone{first}"
    return Rows(rows, [counted, *([words] if words else [])], compared, columns=("sentence", "model", "exact", "text"))


def _claim_row(claim: ModelComparison) -> PrintedRow:
    found = claim.scores
    interval = {"difference": found.difference, "low": found.low, "high": found.high, "p_value": found.p_value}
    name = claim.metric.partition("/")[2]
    return {"metric": name, "A": found.a, "B": found.b, **interval, "A_is": claim.verdict, "key": claim.metric}


def _claim(claim: ModelComparison) -> str:
    found = claim.scores
    words = {"better": "A is better", "worse": "B is better", "undecided": "not shown to differ"}
    return (
        f"{claim.metric.partition('/')[2]}: A {found.a:.4g}, B {found.b:.4g}, difference {found.difference:+.3g}"
        f" [{found.low:+.3g}, {found.high:+.3g}], p = {found.p_value:.2g}: {words[claim.verdict]}"
    )
