"""The model card of a registered version, in Markdown: its data, its spec, its scores, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.evaluation.metric import TOKEN_ENTROPY
from t5vqvae.evaluation.metrics import find, is_on_test, label
from t5vqvae.redaction import redacted
from tune.monitor.formats import markdown_table

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec

LONGEST = 5000
"""Characters; MLflow keeps a description of that length on every store."""
LOADING = "**Load it.**"
"""The head of the last section, which says how a registered version is loaded."""
_SHOWN = {
    "Quality": ("nll", "nll_per_char", "token_accuracy", "exact_match", "bleu", "bleu1"),
    "Rate": ("rate/bits_per_token", "rate/joint_bits_per_token", TOKEN_ENTROPY, "rate/bits_per_sentence",
             "codebook/usage"),
    "Control": ("control/local_intervention", "control/distributed_intervention", "control/locality"),
}  # fmt: skip
_SPEC = ("model.name", "model.backbone", "model.d_model", "model.num_layers", "model.position", "quantizer.name",
         "quantizer.codebook_size", "quantizer.code_width", "quantizer.num_codebooks", "train.max_steps",
         "train.batch_size", "optim.learning_rate")  # fmt: skip


@dataclass(frozen=True)
class CardFacts:
    """What a card says besides the spec and the metrics.

    Attributes:
        study: The study's name.
        question: Its question.
        trial: The trial's number.
        chosen_from: Out of how many trials it was chosen, in words.
        seeds: The seeds behind the choice, in words.
        licence: The licence of the data; None: unknown.
        data: Fingerprint of the data.
        decided: By which sentences it was compared with a champion, in words; None: with none so far.
        tables: What the tables are of, in words.
        uri: Where to load it from.
        labels: What every reader of its numbers must see, each with what it rests on.
    """

    study: str
    question: str
    trial: int
    chosen_from: str
    seeds: str
    licence: str | None
    data: str
    decided: str | None
    tables: str
    uri: str
    labels: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: CardFacts, spec: RunSpec, metrics: Mapping[str, float]) -> str:
    """Returns the card.

    Args:
        facts: Where the model comes from.
        spec: Its resolved run.
        metrics: Its metrics on the test sets, such as `test/nll` and `VAR/exact_match`.
    """
    flat = spec.as_flat_dict()
    parts = [
        f"**{facts.question or facts.study}** Trial {facts.trial} of study {facts.study}, {facts.chosen_from}.",
        f"**Data.** {_corpus(flat)}; licence: {facts.licence or 'not known to this project'};"
        f" fingerprint `{facts.data[:12]}`.",
        f"**Spec.** {', '.join(f'{path}={flat[path]}' for path in _SPEC if flat.get(path) is not None)}.",
        f"**Labels.** {_labels(facts.labels)}." if facts.labels else "",
        f"**Seeds.** {facts.seeds}",
        *(_section(title, names, metrics) for title, names in _SHOWN.items()),
        _shifted(metrics),
        f"**Tables.** They are of {facts.tables}.",
        f"**Decided by** {facts.decided}." if facts.decided else "",
        f"**Limits.** {_limits(flat)}",
        f'{LOADING}\n```python\nimport mlflow.pyfunc, pandas\nmodel = mlflow.pyfunc.load_model("{facts.uri}")\n'
        f'model.predict(pandas.DataFrame({{"text": ["..."]}}))\n```',
    ]
    return redacted("\n\n".join(filter(None, parts)))[:LONGEST]


def hub_card(card: str, spec: RunSpec, repo: str) -> str:
    """Returns the card of a version as a repository's README: with metadata, loaded from there, without local paths.

    Args:
        card: The card of the registered version.
        spec: Its resolved run, which may name absolute paths.
        repo: OWNER/NAME.
    """
    text = card.partition(LOADING)[0].rstrip()
    paths = (value for value in spec.as_flat_dict().values() if isinstance(value, str) and value.startswith("/"))
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name)
    metadata = "---\nlibrary_name: t5vqvae\ntags:\n- text-autoencoder\n- vector-quantization\n---"
    loading = (
        f"{LOADING} With the package t5vqvae that it was trained by:\n\n```python\n"
        "from huggingface_hub import snapshot_download\nfrom t5vqvae.models.contract import load_model, reconstruct\n\n"
        f'model = load_model(snapshot_download("{repo}"))\nprint(reconstruct(model, ["..."]))\n```\n'
    )
    return "\n\n".join([metadata, f"# {repo.partition('/')[2]}", text, loading])


def _corpus(flat: Mapping[str, object]) -> str:
    settings = {path.removeprefix("data.corpus."): v for path, v in flat.items() if path.startswith("data.corpus.")}
    name = settings.pop("name")
    return f"{name} ({', '.join(f'{key}={value}' for key, value in settings.items() if value is not None)})"


def _labels(labels: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text.removeprefix(f'{name}: ')}" for name, text in labels.items())


def _section(title: str, names: Sequence[str], metrics: Mapping[str, float]) -> str:
    keys = [f"test/{name}" for name in names if f"test/{name}" in metrics]
    if not keys:
        return f"**{title}.** Not measured." if title == "Control" else ""
    return f"**{title}**, test set.\n\n{markdown_table(['measure', 'value', 'unit'], [_row(k, metrics) for k in keys])}"


def _row(key: str, metrics: Mapping[str, float]) -> list[str]:
    found = find(key)
    return [label(key), f"{metrics[key]:.4g}", "" if found is None else found.units]


def _shifted(metrics: Mapping[str, float]) -> str:
    """Returns the scores out of distribution, one line a test set."""
    sets = dict.fromkeys(key.partition("/")[0] for key in metrics if is_on_test(key))
    wanted = ("exact_match", "nll_per_char", "rate/bits_per_token")
    rows = []
    for name in (each for each in sets if each.isupper()):
        values = [metrics.get(f"{name}/{key}") for key in wanted]
        rows.append([name, *("-" if value is None else f"{value:.4g}" for value in values)])
    if not rows:
        return "**Out of distribution.** Not measured: the corpus has no further test set."
    return f"**Out of distribution.**\n\n{markdown_table(['test set', *map(label, wanted)], rows)}"


def _limits(flat: Mapping[str, object]) -> str:
    longest = flat.get("data.max_length")
    return (
        f"Texts of up to {longest} tokens, like those of the corpus {flat['data.corpus.name']}: nothing is known of"
        " others. Its scores hold for this model; another seed gives another one. It reconstructs; it checks nothing"
        " that a text says."
    )
