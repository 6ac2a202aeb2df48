"""Probes: what a linear model reads from frozen latents, and how much of that it would read from any latents.

Two tasks: the role of a token (a part of speech, where the corpus has these) from the vector at its position, and the
template of a sentence from the mean of its vectors. A logistic regression is fitted on two thirds of the sentences and
judged on the others; codes are taken by their vectors. Next to each accuracy stand two controls:

- `control`: the accuracy of a *control task*, where every different token has a random label, drawn with the
  frequencies of the task. A probe that is as good there names tokens, and shows no structure.
- `shuffled`: the accuracy with vectors in a random order, about the share of the most frequent label.

Source: Hewitt and Liang 2019, arXiv 1909.03368, for control tasks.

Letters: N items, E width of a vector.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from t5vqvae.data.corpora.corpus import NO_ROLE
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.counted import numbered
from t5vqvae.measures.slots import Floats, Ints
from t5vqvae.stages import stage

MOST_ITEMS = 4_000


@dataclass(frozen=True)
class Task:
    """What is to be read.

    Attributes:
        vectors_NE: The vector of every item.
        labels: Its label.
        kinds: What it looks like: items of one kind have one label in the control task.
        sentences: The sentence that it is from.
    """

    vectors_NE: Floats
    labels: Sequence[str]
    kinds: Sequence[Hashable]
    sentences: Sequence[int]


def probe_scores(task: Task, seed: int) -> dict[str, float]:
    """Returns the accuracy of a task, of its control task, and with shuffled vectors; each in [0, 1]."""
    rng = np.random.default_rng([seed, 5])
    labels_N, kinds_N = numbered(task.labels), numbered(task.kinds)
    control_N = rng.choice(labels_N, int(kinds_N.max()) + 1)[kinds_N]
    for_fit = rng.random(max(task.sentences) + 1) < 2 / 3
    fit_N = for_fit[np.asarray(task.sentences)]
    return {
        "accuracy": _accuracy(task.vectors_NE, labels_N, fit_N),
        "control": _accuracy(task.vectors_NE, control_N, fit_N),
        "shuffled": _accuracy(rng.permutation(task.vectors_NE), labels_N, fit_N),
    }


def _accuracy(vectors_NE: Floats, labels_N: Ints, fit_N: np.ndarray) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean_E, spread_E = vectors_NE[fit_N].mean(0), vectors_NE[fit_N].std(0)
    scaled_NE = (vectors_NE - mean_E) / np.where(spread_E > 0, spread_E, 1.0)
    if len(np.unique(labels_N[fit_N])) < 2:
        return float((labels_N[~fit_N] == labels_N[fit_N][0]).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop regularizes; it is judged like any other
        model = LogisticRegression(C=1.0, max_iter=100).fit(scaled_NE[fit_N], labels_N[fit_N])
    return float((model.predict(scaled_NE[~fit_N]) == labels_N[~fit_N]).mean())


@measure("probes", "full")
def probes(probed: Probed) -> Found:
    """Measures what a linear model reads from frozen latents, next to its controls."""
    if probed.model.leaks or len(probed.texts) < 20:
        return Found()
    space = probed.space()
    sentences = space.encode(probed.texts)
    vectors = [_position_vectors(space, each) for each in sentences]
    tasks = {"role": _role_task(probed, sentences, vectors), "template": _template_task(probed, vectors)}
    metrics, rows = dict[str, float](), list[Row]()
    with stage("fitting probes"):
        for name, task in tasks.items():
            if task is not None:
                found = probe_scores(task, probed.seed)
                metrics |= {f"readout/{name}_{kind}": value for kind, value in found.items()}
                rows.append({"read": name, "items": len(task.labels), "labels": len(set(task.labels)), **found})
    return Found(metrics, {"Probes of frozen latents": rows})


@torch.no_grad()
def _position_vectors(space: LatentSpace, sentence: Sentence) -> Floats:
    """Returns the vector of every position of a sentence, those of codes by lookup, shape (T, E)."""
    latent_TX = sentence.latent_TX
    found_TE = latent_TX if sentence.codes_TQ is None else space.model.quantizer.lookup(latent_TX[None])[0]
    return found_TE.double().cpu().numpy()


def _role_task(probed: Probed, sentences: Sequence[Sentence], vectors: Sequence[Floats]) -> Task | None:
    items = [
        (vectors_TE[place], role, token, number)
        for number, (sentence, vectors_TE, roles) in enumerate(zip(sentences, vectors, probed.roles, strict=True))
        if sentence.by_token and len(vectors_TE) > 1
        for place, (token, role) in enumerate(zip(sentence.tokens, roles, strict=False))
        if role != NO_ROLE
    ][:MOST_ITEMS]
    return _task(items)


def _template_task(probed: Probed, vectors: Sequence[Floats]) -> Task | None:
    corpus = probed.spec.data.corpus
    if not corpus.has_edits:
        return None
    factors = [corpus.factors_of(text) or {} for text in probed.texts]
    rows = zip(vectors, factors, probed.texts, strict=True)
    return _task([(each.mean(0), known["template"], text, number)
                  for number, (each, known, text) in enumerate(rows) if "template" in known])  # fmt: skip


def _task(items: Sequence[tuple[Floats, str, str, int]]) -> Task | None:
    if len({label for _, label, _, _ in items}) < 2:
        return None
    vectors, labels, kinds, sentences = zip(*items, strict=True)
    return Task(np.stack(vectors), labels, kinds, sentences)
