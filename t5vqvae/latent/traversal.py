"""Traversal: one code of a sentence takes the values of its nearest codes in turn, all other codes stay.

Letters: T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from t5vqvae.errors import DataError, SettingError
from t5vqvae.latent.code_vectors import nearest_codes
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence

NEAREST = 20
"""Codes that a traversal takes."""


@dataclass(frozen=True)
class Swap:
    """A sentence with one code replaced.

    Attributes:
        position: The position of the code, from 0.
        codebook: Its codebook.
        code: The code that took its place.
        distance: Squared distance of the two codes' vectors.
        codes_TQ: All codes of the changed sentence.
        text: The decoded text.
    """

    position: int
    codebook: int
    code: int
    distance: float
    codes_TQ: Tensor
    text: str


def traverse(
    space: LatentSpace, sentence: Sentence, positions: Sequence[int], nearest: int = NEAREST, codebook: int = 0
) -> list[Swap]:
    """Returns the sentence with the code at each position replaced by each of its nearest codes.

    Args:
        space: The model.
        sentence: The encoded sentence.
        positions: The positions, from 0; each is traversed on its own.
        nearest: Codes to take; fewer where the codebook has fewer.
        codebook: Which of a position's codes to replace.

    Raises:
        DataError: If the model has no codes, or the sentence no such position.
        SettingError: If the model has no such codebook.
    """
    space.require_codes("a traversal")
    refuse_codebook(space, codebook)
    for position in positions:
        refuse_position(sentence, position)
    codes_TQ, quantizer = sentence.latent_TX, space.model.quantizer
    found = [
        (position, code, distance, swapped(codes_TQ, position, codebook, code))
        for position in positions
        for code, distance in nearest_codes(quantizer, codes_TQ[position], codebook, nearest)
    ]
    texts = space.decode([codes for *_, codes in found], [sentence.prompt_codes_PQ] * len(found))
    return [
        Swap(position, codebook, code, distance, codes, text)
        for (position, code, distance, codes), text in zip(found, texts, strict=True)
    ]


def swapped(codes_TQ: Tensor, position: int, codebook: int, code: int) -> Tensor:
    """Returns codes with one of them replaced."""
    changed_TQ = codes_TQ.clone()
    changed_TQ[position, codebook] = code
    return changed_TQ


def refuse_position(sentence: Sentence, position: int) -> None:
    """Refuses a position that a sentence does not have.

    Raises:
        DataError: With the sentence's length.
    """
    length = len(sentence.latent_TX)
    if not 0 <= position < length:
        raise DataError(f"position={position} is none of {sentence.text!r:.60}: it has {length}, 0 to {length - 1}")


def refuse_codebook(space: LatentSpace, codebook: int) -> None:
    """Refuses a codebook that a model does not have.

    Raises:
        SettingError: With the number of its codebooks.
    """
    number = space.model.quantizer.num_codebooks
    if not 0 <= codebook < number:
        raise SettingError(f"codebook={codebook} must lie between 0 and {number - 1}: the model has {number}")
