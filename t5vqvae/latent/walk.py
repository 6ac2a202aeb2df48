"""The walk along the curve of `sfvq`: the code at a position moves by 1, 2, ... corners of the learned order.

Neighbours on the curve are near in space, so a walk should change a text little by little.

Source: Vali and Bäckström 2023 (MHVali/Space-Filling-Vector-Quantizer).

Letters: T positions of a sentence, Q codes a position (1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from t5vqvae.errors import DataError
from t5vqvae.latent.code_vectors import vectors
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.latent.traversal import refuse_position, swapped
from t5vqvae.quantizers.sfvq import SFVQQuantizer


@dataclass(frozen=True)
class CurveStep:
    """One step along the curve.

    Attributes:
        offset: Corners from the sentence's own code, negative before it.
        code: The code, its number on the curve.
        distance: Squared distance of its vector to that of the sentence's own code.
        codes_TQ: All codes of the changed sentence.
        text: The decoded text.
    """

    offset: int
    code: int
    distance: float
    codes_TQ: Tensor
    text: str


def walk_curve(space: LatentSpace, sentence: Sentence, position: int, reach: int) -> list[CurveStep]:
    """Returns the sentence with the code at a position moved by -reach to reach corners, within the curve.

    Raises:
        DataError: If the codes have no learned order, or the sentence no such position.
    """
    quantizer = space.model.quantizer
    if not isinstance(quantizer, SFVQQuantizer):
        raise DataError(
            f"{space.bottleneck} has codes without an order; a walk along a curve needs quantizer.name=sfvq"
        )
    space.require_codes("a walk along the curve")
    refuse_position(sentence, position)
    here = int(sentence.latent_TX[position, 0])
    codes = range(max(0, here - reach), min(quantizer.num_corners, here + reach + 1))
    changed = [swapped(sentence.latent_TX, position, 0, code) for code in codes]
    points_NC = vectors(quantizer, torch.tensor([[here], *([code] for code in codes)], device=changed[0].device))
    far_N = (points_NC[1:] - points_NC[0]).square().sum(-1).tolist()
    texts = space.decode(changed, [sentence.prompt_codes_PQ] * len(changed))
    rows = zip(codes, far_N, changed, texts, strict=True)
    return [CurveStep(code - here, code, far, codes_TQ, text) for code, far, codes_TQ, text in rows]
