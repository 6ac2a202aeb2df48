"""Positions drawn from a range that is longer than any text, so that longer texts meet no position without training.

In training every text draws an ordered random subset of the range, as large as the text is long. In evaluation it
takes the subset's mean: the t-th smallest of n out of L is t (L + 1) / (n + 1), rounded down. So a score depends
neither on luck nor on the other texts of a batch. Encoder and decoder share a text's positions.

Source: `randomized` is randomized positional encodings (Ruoss et al. 2023, arXiv 2305.16843) with sinusoids; `labels`
is the label-based encoding of Li and McClelland (2022, arXiv 2210.00400): ascending random labels, each with a learned
vector.

Same: an ordered subset without repetition, drawn anew in every training step, from a range beyond the longest text.

Different: the papers draw in evaluation, too. Ruoss et al. have positions in every attention; here self-attention keeps
T5's relative bias, and the positions serve cross-attention, as those of `absolute` do.

Letters: B batch, T positions, L range.
"""

from __future__ import annotations

import torch
from torch import Tensor


def drawn_positions(lengths_B: Tensor, size: int, span: int, training: bool) -> Tensor:
    """Returns the first `size` positions of each text, ascending, int64, shape (B, T); `span` - 1 behind its end.

    Args:
        lengths_B: Tokens of each text; a text that is longer than `span` counts as that long.
        size: T, positions to return.
        span: L: positions are drawn from 0 to L - 1.
        training: Whether to draw; otherwise the subset's mean is taken.
    """
    lengths_B1 = lengths_B.clamp(max=span).unsqueeze(1)
    steps_T = torch.arange(size, device=lengths_B.device)
    if training:
        found_BT = _drawn(lengths_B1, span)[:, :size]
        found_BT = torch.nn.functional.pad(found_BT, (0, max(0, size - span)), value=span - 1)
    else:
        found_BT = (steps_T + 1) * (span + 1) // (lengths_B1 + 1) - 1
    return torch.where(steps_T < lengths_B1, found_BT, span - 1)


def _drawn(lengths_B1: Tensor, span: int) -> Tensor:
    """Returns an ordered random subset of each text, shape (B, L); `span` behind its end."""
    device = lengths_B1.device
    ranks_BL = torch.rand(len(lengths_B1), span, device=device).argsort(1).argsort(1)
    places_L = torch.arange(span, device=device)
    return torch.where(ranks_BL < lengths_B1, places_L, span).sort(1).values
