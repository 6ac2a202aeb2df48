"""Refuses codes that are none of a model's.

Letters: B batch, T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

from torch import Tensor

from t5vqvae.latent.code_vectors import sizes_so_far
from t5vqvae.models.codes import check_codes
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.models.t5 import T5VQVAE


def knows_not_sent(model: TextAutoencoder) -> bool:
    """Returns whether a model was trained with codes left out, so that a code may be `NOT_SENT`."""
    return isinstance(model, T5VQVAE) and model.encoder.not_sent is not None


def refuse_other_codes(model: TextAutoencoder, codes_BTQ: Tensor, padding: bool = True) -> None:
    """Refuses codes that are none of a model's; of a curve that still grows, those without a corner so far, too.

    Args:
        model: A model with codes.
        codes_BTQ: The codes.
        padding: Whether a position may be padding, as in a batch of several sentences.

    Raises:
        DataError: With the code, and those that there are.
    """
    check_codes(codes_BTQ, sizes_so_far(model.quantizer), "codes", not_sent=knows_not_sent(model), padding=padding)
