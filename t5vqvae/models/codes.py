"""Checks of codes that a user gives to a model.

Letters: B batch, T positions, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from t5vqvae.errors import DataError

NOT_SENT = -2
"""The code, in all Q codebooks, of a position whose code is not sent; only models trained with code dropout know it."""


def check_codes(
    codes_BTQ: object,
    code_sizes: tuple[int, ...],
    name: str,
    batch: int | None = None,
    not_sent: bool = False,
    padding: bool = True,
) -> None:
    """Refuses what is no tensor of codes for codebooks of these sizes; -1 in all of a position is padding.

    Args:
        codes_BTQ: What was given.
        code_sizes: Entries of each of the Q codebooks; none: the model has no codes, which its quantizer says.
        name: The name of the codes in errors.
        batch: The number of sentences that they must be for; None: any.
        not_sent: Whether a position may be `NOT_SENT`.
        padding: Whether a position may be padding, as in a batch of several sentences.

    Raises:
        DataError: With what was given and what is expected.
    """
    if not code_sizes:
        return
    if not isinstance(codes_BTQ, Tensor) or codes_BTQ.is_floating_point() or codes_BTQ.is_complex():
        kind = str(codes_BTQ.dtype) if isinstance(codes_BTQ, Tensor) else type(codes_BTQ).__name__
        raise DataError(f"{name} must be a tensor of whole numbers (int64), not {kind}; use what encode returns")
    shape, num_codebooks = tuple(codes_BTQ.shape), len(code_sizes)
    if len(shape) != 3 or shape[-1] != num_codebooks or batch not in (None, shape[0]):
        expected = f"({'sentences' if batch is None else batch}, positions, {num_codebooks})"
        raise DataError(f"{name} of shape {shape} must have the shape {expected}, a code for each codebook")
    others = {-1: "at padding"} if padding else {}
    others |= {NOT_SENT: "where none is sent"} if not_sent else {}
    for place, size in enumerate(code_sizes):
        _check_range(codes_BTQ[..., place], others, size, f"{name}[..., {place}]")
    first_BT1 = codes_BTQ[..., :1]
    partly_BTQ = ((codes_BTQ < 0) | (first_BT1 < 0)) & (codes_BTQ != first_BT1)
    if bool(partly_BTQ.any()):
        known = " or ".join(map(str, others))
        raise DataError(f"{name} are {known} in a part of a position; write it in all {num_codebooks} of its codes")


def _check_range(codes_BT: Tensor, others: Mapping[int, str], size: int, name: str) -> None:
    """Refuses codes outside 0 to size - 1 that are none of some others, each with what it stands for."""
    is_other_BT = torch.isin(codes_BT, codes_BT.new_tensor(list(others)))
    wrong = codes_BT[((codes_BT < 0) | (codes_BT >= size)) & ~is_other_BT]
    if wrong.numel():
        more = "".join(f", and {code} {meaning}" for code, meaning in others.items())
        raise DataError(f"{name} has the code {int(wrong[0])}; codes are 0 to {size - 1}{more}")


def refuse_no_codes(mask_BT: Tensor) -> None:
    """Refuses a batch in which a sentence has no code that a decoder reads.

    Raises:
        DataError: With the first such sentence.
    """
    empty = (~mask_BT.any(-1)).nonzero()
    if len(empty):
        raise DataError(
            f"sentence {int(empty[0])} has no codes, only padding (or codes that are not sent, where"
            " model.not_sent=removed); leave it out"
        )
