"""Paths in the states of one frozen encoder that all compared models share, to check smoothness by other means.

A sentence is the mean of its token states before the bottleneck. Both measures say little alone: they are for the
comparison of models on the same pairs of sentences.

- `frechet`: Frechet distance between Gaussians fitted to the sentences on paths and to the corpus's sentences:
  |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)). Small where paths run through sentences like those of the corpus.
- `perceptual_length`: mean over steps of |f(s_t) - f(s_t+1)|^2 / dt^2. Small where steps are even and direct.

Source: Heusel et al. 2017 (FID); Karras et al. 2019 (perceptual path length), both in Inception's features of images.

Letters: N sentences, E width of the states, L steps of a path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t5vqvae.errors import DataError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.slots import Floats
from t5vqvae.models.contract import load_model, model_folder
from t5vqvae.stages import stage


@measure("path_states")
def path_states(probed: Probed) -> Found:
    """Measures where paths run, and how evenly, in the states of a frozen encoder."""
    if probed.encoder is None or probed.model.leaks or not probed.paths:
        return Found()
    texts = [[step.text or " " for step in path.steps] for path in probed.paths]
    with stage("encoding paths"):
        pairs, shown = probed.spec.data.corpus.gives_pairs, [text for each in texts for text in each]
        known = _states(probed.encoder, [*probed.texts, *shown], pairs)
    corpus_NE = np.stack([known[text] for text in probed.texts])
    paths = [np.stack([known[text] for text in each]) for each in texts]
    metrics = {
        "smoothness/frechet": frechet(np.concatenate(paths), corpus_NE),
        "smoothness/perceptual_length": float(np.mean([perceptual_length(each) for each in paths])),
    }
    return Found(metrics)


def frechet(one_NE: Floats, other_NE: Floats) -> float:
    """Returns the Frechet distance between the Gaussians that fit two sets of vectors."""
    shift = float(((one_NE.mean(0) - other_NE.mean(0)) ** 2).sum())
    first_EE, second_EE = (np.cov(each_NE, rowvar=False) for each_NE in (one_NE, other_NE))
    # The trace of (S_1 S_2)^(1/2) is that of its symmetric form, whose eigenvalues are real.
    root_EE = _root(first_EE)
    cross = float(np.sqrt(np.linalg.eigvalsh(root_EE @ second_EE @ root_EE).clip(0)).sum())
    return shift + float(np.trace(first_EE) + np.trace(second_EE)) - 2 * cross


def perceptual_length(path_LE: Floats) -> float:
    """Returns the mean over steps of the squared change by the squared step; a path goes from 0 to 1."""
    steps = len(path_LE) - 1
    return float((np.diff(path_LE, axis=0) ** 2).sum(-1).mean() * steps**2)


def _root(matrix_EE: Floats) -> Floats:
    values_E, vectors_EE = np.linalg.eigh(matrix_EE)
    found_EE: Floats = vectors_EE * np.sqrt(values_E.clip(0)) @ vectors_EE.T
    return found_EE


def _states(folder: Path, texts: Sequence[str], pairs: bool) -> dict[str, Floats]:
    """Returns the mean state of every text before the bottleneck; an empty one has zeros.

    Raises:
        DataError: If the encoder is no checkpoint, or has one latent a sentence.
    """
    model = load_model(model_folder(folder))
    space, wanted = LatentSpace(model, pairs=pairs), list(dict.fromkeys(text for text in texts if text.strip()))
    sentences = space.encode(wanted)
    if not all(each.by_token for each in sentences):
        raise DataError(f"encoder={folder} has one latent a sentence; name an autoencoder with one a token")
    found = {each.text: each.states_TE.double().mean(0).cpu().numpy() for each in sentences}
    width = len(next(iter(found.values())))
    return {text: found.get(text, np.zeros(width)) for text in texts}
