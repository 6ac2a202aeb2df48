"""Paths between random sentences: how smooth they are, and examples to read.

Sentences are paired at random, seeded. Paths are linear, in 11 steps; see `t5vqvae.latent.interpolation`. Words are
compared by skip-gram vectors of the training split, the same for all models of a corpus. Where the corpus has no words
(mathematics), tokens are compared by the model's own embeddings, so values of two such models do not compare.

Letters: V vocabulary, E model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from t5vqvae.data.special_tokens import guard
from t5vqvae.latent.interpolation import share_changing_length
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.mean_interval import mean_interval
from t5vqvae.measures.smoothness import Distance, Path, path_of, scores
from t5vqvae.measures.word_vectors import skip_gram, stop_words
from t5vqvae.spec.probe import PATHS

NUM_SHOWN = 5


@measure("smoothness")
def smoothness(probed: Probed) -> Found:
    """Measures how directly interpolation leads from one sentence to another."""
    if probed.model.leaks or not probed.paths:
        return Found()
    trajectories, paths = probed.paths, smooth_paths(probed)
    metrics = scores(paths) | {"smoothness/length_changes": share_changing_length(trajectories)}
    rows: list[Row] = [
        {"path": number, "step": place, "decoded": step.text, "IS": path.smoothness, "counts": str(path.counts)}
        for number, (each, path) in enumerate(zip(trajectories[:NUM_SHOWN], paths, strict=False))
        for place, step in enumerate(each.steps)
    ]
    return Found(metrics, {"Smoothness over paths": [_interval(paths, probed.seed)], PATHS: rows})


def smooth_paths(probed: Probed) -> list[Path]:
    """Returns the probed paths with their smoothness, in their order."""
    paths, distance = probed.paths, _distance(probed)
    return [path_of([step.text for step in each.steps], distance) for each in paths]


def _interval(paths: Sequence[Path], seed: int) -> Row:
    """Returns the mean with paths that do not count as 0, and its 95% bootstrap interval over paths."""
    values = [path.smoothness if path.counts and path.smoothness else 0.0 for path in paths]
    mean, low, high = mean_interval(values, seed)
    return {"mean or 0": mean, "low": low, "high": high, "paths": len(paths)}


def _distance(probed: Probed) -> Distance:
    if probed.spec.data.corpus.default_tokenizer != "latex":
        return Distance(skip_gram(probed.train.sources(range(len(probed.train))), probed.seed), stop_words())
    tokenizer = guard(probed.model.require_tokenizer())
    weights_VE = probed.model.get_input_embeddings().weight.detach().float().cpu()
    units_VE = torch.nn.functional.normalize(weights_VE, dim=-1).double().numpy()
    vectors = {token: units_VE[number] for token, number in tokenizer.get_vocab().items() if number < len(units_VE)}
    return Distance(vectors, words_of=tokenizer.tokenize)
