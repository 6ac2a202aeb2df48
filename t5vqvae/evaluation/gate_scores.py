"""A model's scores on each sentence, and each edit, by which a promotion decides.

Every measure is a sum over a sum, so that two models are compared by resampling the same sentences. Keys are those of
the metrics on the split `gate`: `gate/exact_match`, and `gate/VAR/exact_match` on a shifted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from t5vqvae.data import prepare
from t5vqvae.data.gate_split import GateData
from t5vqvae.evaluation.evaluate import Evaluation, control_of, evaluate
from t5vqvae.evaluation.metric import JOINT_RATE, RATE
from t5vqvae.evaluation.out_of_distribution import GATE, mean_over
from t5vqvae.evaluation.scored_sentences import SUMMED, Amounts, amounts
from t5vqvae.evaluation.summed_metrics import PER_CHARACTER
from t5vqvae.measures.control import KINDS, SPARSE, Control, Outcome, run_edits, scores, sparse_scores
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import stage

USAGE = "codebook/usage"
"""Measured on blocks of sentences, each by itself: codes seen once in a resampled whole would count as often."""


@dataclass(frozen=True)
class GateScores:
    """What a model scored on the sentences that decide.

    Attributes:
        units: Numerators and denominators by metric.
        names: What each unit is, by the kind of unit: two models are compared only where these are equal.
        metrics: Every metric of the split, also those without units.
        decoded: The decoded sentences of the split `gate`, for corpus BLEU.
        references: What they should be.
    """

    units: Mapping[str, Amounts]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    decoded: Sequence[str] = ()
    references: Sequence[str] = ()


def kind_of(metric: str) -> str:
    """Returns what the units of a metric are: sentences of `gate`, of a shifted split, or edits."""
    if metric.startswith("gate/control/") or metric.endswith(USAGE):
        return metric.removeprefix("gate/")
    second = metric.split("/")[1]
    return second if second.isupper() else "gate"


def score_gate(model: TextAutoencoder, spec: RunSpec, cache_dir: Path, gate: GateData) -> GateScores:
    """Returns the scores of a model on the split that decides.

    Args:
        model: The model.
        spec: Its run: `evaluate` says how many edits are made.
        cache_dir: Cache of prepared data.
        gate: The sentences.
    """
    prepared = prepare(spec.data, cache_dir, backbone=spec.model.backbone)
    train = prepared.own_train
    units: dict[str, Amounts] = {}
    names: dict[str, Sequence[str]] = {}
    metrics: dict[str, float] = {}
    decoded: list[tuple[str, str]] = []
    with stage("measuring what decides", sum(map(len, gate.splits.values())), "sentences") as now:
        for name, split in gate.splits.items():
            prefix = "gate" if name == "gate" else f"gate/{name}"
            found = evaluate(model, split, spec, train=train, prefix=prefix, everything=True, per_sentence=True)
            units |= _of_sentences(found, prefix)
            names[name] = split.sources([row.index for row in found.sentences])
            if name == "gate":
                decoded = [(row.decoded, row.reference) for row in found.sentences]
            if found.rates is not None and name == "gate":
                units[f"gate/{USAGE}"] = list(found.rates.usage), [1.0] * len(found.rates.usage)
                names[USAGE] = [f"block {number}" for number in range(len(found.rates.usage))]
            metrics |= {key if key.startswith("gate/") else f"{prefix}/{key}": v for key, v in found.metrics.items()}
            now.advance(len(split))
    metrics |= mean_over(metrics, [f"gate/{name}" for name in prepared.twins if name in gate.splits], GATE)
    edits = _of_edits(model, spec, cache_dir, prepared.role_names)
    texts = [text for text, _ in decoded], [reference for _, reference in decoded]
    return GateScores({**units, **edits.units}, {**names, **edits.names}, {**metrics, **edits.metrics}, *texts)


def _of_sentences(found: Evaluation, prefix: str) -> dict[str, Amounts]:
    rows, rates = found.sentences, found.rates
    units = {f"{prefix}/{name}": amounts(rows, name) for name in SUMMED}
    if rates is not None:
        place = {index: number for number, index in enumerate(rates.indices)}
        order = [place[row.index] for row in rows]
        for key, bits in ((RATE, rates.bits), (JOINT_RATE, rates.joint_bits)):
            if bits:
                units[f"{prefix}/{key}"] = [bits[i] for i in order], [rates.positions[i] for i in order]
                units[f"{prefix}/{PER_CHARACTER[key]}"] = [bits[i] for i in order], [float(row.chars) for row in rows]
        units[f"{prefix}/rate/bits_per_sentence"] = [rates.bits[i] for i in order], [1.0] * len(rows)
    return units


@dataclass(frozen=True)
class _Edits:
    units: Mapping[str, Amounts] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def _of_edits(model: TextAutoencoder, spec: RunSpec, cache_dir: Path, role_names: Sequence[str]) -> _Edits:
    """Returns the right answers of edits, by kind of factor; none without `evaluate.control`.

    Source, donor and answer of an edit lie in the test split, which alone has them; those that result tables count
    are left out.
    """
    reported = None if model.leaks else control_of(spec, cache_dir, "test", role_names)
    if reported is None:
        return _Edits()
    number, counted = spec.evaluate.control, set(reported.edits)
    drawn = Control.of(spec.data.corpus, cache_dir, "test", 2 * number, spec.seed + 1, role_names)
    control = replace(drawn, edits=[edit for edit in drawn.edits if edit not in counted][:number])
    unsent, size = spec.evaluate.unsent if model.has_codes else None, spec.evaluate.batch_size
    edited = run_edits(model, control, max_new_tokens=spec.max_new_tokens, batch_size=size, unsent=unsent)
    metrics = {f"gate/{key}": v for key, v in (scores(edited.whole) | sparse_scores(edited.sparse)).items()}
    keys = {f"control/{kind}_intervention": kind for kind in KINDS}
    whole = {key: [each for each in edited.whole if each.edit.kind == kind] for key, kind in keys.items()}
    sparse = {SPARSE[key]: [each for each in edited.sparse if each.edit.kind == kind] for key, kind in keys.items()}
    found = {key: outcomes for key, outcomes in (whole | sparse).items() if outcomes}
    units = {f"gate/{key}": _answered(outcomes) for key, outcomes in found.items()}
    names = {key: [f"{each.edit.source} > {each.edit.answer}" for each in outcomes] for key, outcomes in found.items()}
    return _Edits(units, names, metrics)


def _answered(outcomes: Sequence[Outcome]) -> Amounts:
    """Returns the right answers of edits, out of one each."""
    return [float(outcome.is_answer) for outcome in outcomes], [1.0] * len(outcomes)
