"""Probes a trained model: spec in, metrics and tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from t5vqvae.errors import DataError
from t5vqvae.measures import (  # noqa: F401  # registers them
    attention,
    code_map,
    code_probes,
    codebook_health,
    concepts,
    curve_order,
    dci,
    disentanglement,
    drift,
    edited,
    examples,
    explicitness,
    information,
    latent_use,
    moved,
    path_states,
    prefixes,
    sensitivity,
    separated,
    soft_gap,
    splices,
    trajectories,
    traversals,
    word_labels,
    z_diff,
)
from t5vqvae.measures.base import MEASURES, Probed, Row
from t5vqvae.measures.control import Control, Edited, run_edits
from t5vqvae.measures.drift import earlier_model
from t5vqvae.models.contract import TextAutoencoder, model_folder
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import stage


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        metrics: `measure/name` to value.
        tables: Rows by title, in the order of the measures.
        absent: Measures that found nothing, because the model has no codes or the corpus no known factors.
    """

    metrics: Mapping[str, float]
    tables: Mapping[str, Sequence[Row]]
    absent: Sequence[str]


def probe(
    model: TextAutoencoder, run: RunSpec, spec: ProbeSpec, cache_dir: Path, measures: Sequence[str] | None = None
) -> ProbeResult:
    """Measures a trained model by every measure of a suite; the model stays as it was.

    Args:
        model: The model with its tokenizer.
        run: The run that trained it: its corpus, lengths and batch size are taken.
        spec: The suite, the split, and how much of it.
        cache_dir: Cache of prepared data.
        measures: Names of the measures to take; None: all of the suite.

    Raises:
        DataError: If the corpus has no such split, or the model has no sparse codes.
    """
    probed = probed_of(model, run, spec, cache_dir)
    was_training = model.training
    model.train(False)
    metrics: dict[str, float] = {}
    tables: dict[str, Sequence[Row]] = {}
    absent = []
    in_suite = [each for each in MEASURES.values() if each.suite == "quick" or spec.suite == "full"]
    chosen = in_suite if measures is None else [MEASURES[name] for name in measures]
    try:
        with stage("probing", len(chosen), "measures") as now:
            for number, registered in enumerate(chosen):
                now.set(number, note=registered.name)
                found = registered.run(probed)
                metrics |= found.metrics
                tables |= found.tables
                absent += [] if found.metrics else [registered.name]
    finally:
        model.train(was_training)
    return ProbeResult(metrics, tables, absent)


def probed_of(model: TextAutoencoder, run: RunSpec, spec: ProbeSpec, cache_dir: Path) -> Probed:
    """Returns what measures read of a model.

    Raises:
        CheckpointError: If the earlier checkpoint has no model.
        DataError: If the corpus has no such split, the model has no sparse codes, or the earlier checkpoint has other
            codes or tokens.
    """
    earlier = None if spec.earlier is None else earlier_model(Path(spec.earlier), model)
    if spec.encoder is not None and not (model_folder(Path(spec.encoder)) / "config.json").is_file():
        raise DataError(f"encoder={spec.encoder} holds no model: it has no config.json; name the folder of a model")
    with stage("preparing the data"):
        prepared = prepare(run.data, cache_dir, backbone=run.model.backbone)
        split = prepared.validation if spec.split == "validation" else _test_split(run, cache_dir)
    if spec.unsent is not None:
        _require_sparse(model, spec.unsent)
    return Probed(
        model=model,
        spec=run,
        train=prepared.own_train,
        split=split,
        split_name=spec.split,
        role_names=prepared.role_names,
        cache_dir=cache_dir,
        num_sentences=spec.num_sentences,
        num_edits=spec.num_edits,
        num_paths=spec.num_paths,
        unsent=spec.unsent,
        labels=None if spec.labels is None else Path(spec.labels),
        encoder=None if spec.encoder is None else Path(spec.encoder),
        earlier=earlier,
        seed=spec.seed,
    )


def edit_outcomes(model: TextAutoencoder, run: RunSpec, spec: ProbeSpec, cache_dir: Path) -> Edited:
    """Returns what comes of the edits that a probe makes: of two models of one corpus, the same ones.

    Raises:
        DataError: If the corpus has no edits with known answers, or the decoder reads more than latents.
    """
    names = prepare(run.data, cache_dir, backbone=run.model.backbone).role_names
    control = Control.of(run.data.corpus, cache_dir, spec.split, spec.num_edits, spec.seed, names)
    size, longest = run.evaluate.batch_size, run.max_new_tokens
    return run_edits(model, control, max_new_tokens=longest, batch_size=size, unsent=spec.unsent)


def _test_split(run: RunSpec, cache_dir: Path) -> TokenizedSplit:
    splits = prepare_test(run.data, cache_dir, backbone=run.model.backbone)
    if "test" not in splits:
        raise DataError(f"data.corpus.name={run.data.corpus.name} has no test split; probe with split=validation")
    return splits["test"]


def _require_sparse(model: TextAutoencoder, unsent: float) -> None:
    if not isinstance(model, T5VQVAE) or model.encoder.not_sent is None:
        raise DataError(f"unsent={unsent} needs a model that was trained with train.code_dropout; leave it out")
