"""Use of a codebook: counts, entropy in bits, perplexity, and the share of codes in use.

Letters: N positions, Q codebooks a position, K entries of a codebook.
"""

from __future__ import annotations

import torch
from torch import Tensor


def count_codes(codes_NQ: Tensor, code_sizes: tuple[int, ...]) -> list[Tensor]:
    """Returns how often each entry was used: K int64 counts for each codebook. Negative codes are padding."""
    flat = codes_NQ.reshape(-1, len(code_sizes))
    flat = flat[(flat >= 0).all(-1)]
    return [torch.bincount(flat[:, q], minlength=size) for q, size in enumerate(code_sizes)]


def entropy_bits(counts_K: Tensor) -> float:
    """Returns the entropy of the code frequencies in bits, from 0 (one code) to log2 K.

    This is the plug-in estimate. It is too low by about (codes in use - 1) / (2 N ln 2) bits (Miller 1955), so compare
    variants only on the same evaluation set.

    Raises:
        ValueError: If no code was used at all.
    """
    total = counts_K.sum()
    if total == 0:
        raise ValueError("counts_K is all zero: the entropy of no codes is not defined")
    p_K = counts_K[counts_K > 0].double() / total
    return max(0.0, float(-(p_K * p_K.log2()).sum()))


def perplexity(counts_K: Tensor) -> float:
    """Returns the effective number of codes in use: exp of the entropy of their frequencies, in [1, K].

    Args:
        counts_K: How often each code was used, summed over a whole evaluation set. A mean of per-batch perplexities
            would depend on the batch size: N positions show at most N codes.

    Raises:
        ValueError: If no code was used at all.

    Source: van den Oord et al. 2017, appendix A.1.
    """
    return 2.0 ** entropy_bits(counts_K)


def usage(counts_K: Tensor) -> float:
    """Returns the share of codes in use, in [0, 1]: codes that occur over min(K, N).

    N positions show at most N codes, so a small evaluation set does not lower the share of a large codebook.

    Raises:
        ValueError: If no code was used at all.
    """
    total = int(counts_K.sum())
    if total == 0:
        raise ValueError("counts_K is all zero: the usage of no codes is not defined")
    return int((counts_K > 0).sum()) / min(counts_K.numel(), total)
