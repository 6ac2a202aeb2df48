"""Arithmetic on sentences: states are added, subtracted or averaged position by position, quantized and decoded.

An analogy is a - b + c. A sum has the length of its first sentence, so that a - b + b is a; an average has the rounded
mean length. Words meet from the left and ends of texts meet each other; a sentence adds nothing at a position that it
lacks. Prompts and roles are the first sentence's.

Source: T5VQVAE, arXiv 2402.00723 (SnowYJ/T5VQVAE), which pads to the longest sentence instead.

Letters: T positions of a sentence, X what a position has (codes, or a vector), E model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t5vqvae.errors import SettingError
from t5vqvae.latent.alignment import fitted
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence

Term = tuple[int, Sentence]
"""A sentence and its sign, 1 or -1."""


@dataclass(frozen=True)
class Combined:
    """The result of arithmetic on sentences.

    Attributes:
        latent_TX: Its codes (T, Q), or vectors (T, E) where the model has no codes.
        text: The decoded text.
    """

    latent_TX: Tensor
    text: str


def combine(space: LatentSpace, terms: Sequence[Term], average: bool = False) -> Combined:
    """Returns the sum of sentences with signs, or its average.

    Args:
        space: The model.
        terms: The sentences with their signs, in order.
        average: Divide the sum by the number of terms.

    Raises:
        SettingError: If there is no term.
    """
    if not terms:
        raise SettingError("arithmetic needs a sentence at least")
    lengths = [len(sentence.states_TE) for _, sentence in terms]
    length = round(sum(lengths) / len(lengths)) if average else lengths[0]
    parts = [sign * fitted(sentence.states_TE, length) for sign, sentence in terms]
    total_TE = torch.stack(parts).sum(0) / (len(terms) if average else 1)
    first = terms[0][1]
    roles_T = None if first.roles_T is None else fitted(first.roles_T[:, None], length)[:, 0]
    latents, texts = space.decode_states([total_TE], [first.prompt_codes_PQ], [roles_T])
    return Combined(latents[0], texts[0])


def analogy(space: LatentSpace, a: Sentence, b: Sentence, c: Sentence) -> Combined:
    """Returns a - b + c: what relates to c as a relates to b."""
    return combine(space, [(1, a), (-1, b), (1, c)])
