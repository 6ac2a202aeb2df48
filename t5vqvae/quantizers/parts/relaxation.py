"""Choice of an entry by logits: Gumbel noise, a temperature, and the softmax whose gradient replaces the choice's.

Shared by the variants that choose by logits (`gumbel`, `soft`, `hypervq`). Logits are in memory for one chunk of
positions at a time; the backward pass computes them again instead of keeping an N x K matrix.

Letters: N positions, n positions of one chunk, K entries, C width of an input, D width of an entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from t5vqvae.quantizers.parts.distributed import sum_over_workers
from t5vqvae.quantizers.parts.float32 import full_float32

MAX_SCORES = 1 << 22
"""Logits in memory at once: 16 MB in float32."""


@dataclass(frozen=True)
class Relaxation:
    """How logits become a choice.

    Attributes:
        temperature: Divides the (noisy) logits in the softmax that carries the gradient.
        noise: Whether Gumbel noise is added to the logits: a sample instead of the likeliest entry.
        forward_temperature: Divides the logits before the noise is added. With a value, the softmax of the gradient
            gets the plain logits without noise; None: one softmax, with the noise, for both.
    """

    temperature: float
    noise: bool
    forward_temperature: float | None = None


@dataclass(frozen=True)
class Choice:
    """The result of choosing an entry for N inputs.

    Attributes:
        codes_N: The chosen entries, int64.
        mixed_ND: The averages of all entries with the softmax's weights.
        mass_K: The softmax of the plain logits, summed over positions; divided by N it is the marginal.
    """

    codes_N: Tensor
    mixed_ND: Tensor
    mass_K: Tensor


def choose(inputs_NC: Tensor, logits: Callable[[Tensor], Tensor], entries_KD: Tensor, relaxation: Relaxation) -> Choice:
    """Chooses an entry for each input.

    Args:
        inputs_NC: N may be 0.
        logits: Maps (n, C) to (n, K); larger is likelier.
        entries_KD: The entries to average; pass them detached if the average must train the logits alone.
        relaxation: Noise and temperatures.
    """

    def of_chunk(part_nC: Tensor, entries_KD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with full_float32(part_nC.device.type):  # here, because the backward pass computes this again
            logits_nK = logits(part_nC)
            scores_nK, weights_nK = _relax(logits_nK, relaxation)
            return scores_nK.argmax(-1), weights_nK @ entries_KD, logits_nK.softmax(-1).sum(0)

    rows = max(1, MAX_SCORES // entries_KD.shape[0])
    parts = [checkpoint(of_chunk, part_nC, entries_KD, use_reentrant=False) for part_nC in inputs_NC.split(rows)]
    codes, mixed, mass = zip(*parts, strict=True)
    return Choice(torch.cat(codes), torch.cat(mixed), torch.stack(mass).sum(0))


def likeliest(inputs_NC: Tensor, logits: Callable[[Tensor], Tensor], num_entries: int) -> Tensor:
    """Returns the entry with the largest logit for each input, int64, shape (N,), without noise."""
    with torch.no_grad():
        parts = inputs_NC.split(max(1, MAX_SCORES // num_entries))
        return torch.cat([logits(part_nC).argmax(-1) for part_nC in parts])


def straight_through_mixture(entries_ND: Tensor, mixed_ND: Tensor) -> Tensor:
    """Returns the chosen entries, bitwise equal, with the gradients of both entries and mixture.

    Pass the mixture of detached entries: entries then learn only where they were chosen, logits through the mixture.
    """
    return entries_ND + (mixed_ND - mixed_ND.detach())


def marginal_perplexity(mass_K: Tensor, num_positions: int, over_workers: bool) -> Tensor:
    """Returns exp of the entropy of the entries' marginal, in [1, K], with a gradient.

    Args:
        mass_K: Probability mass of each entry, summed over this worker's positions.
        num_positions: The number of this worker's positions; may be 0.
        over_workers: Sum over all workers first; every worker must then call this function, with the same value.
    """
    total = mass_K.new_tensor(float(num_positions))
    if over_workers:
        mass_K, total = sum_over_workers(mass_K), sum_over_workers(total)
    return entropy(mass_K / total.clamp_min(1.0)).exp()


def entropy(p_K: Tensor) -> Tensor:
    """Returns the entropy in nats over the last dimension; 0 log 0 and its gradient are 0."""
    return -(p_K * p_K.clamp_min(torch.finfo(p_K.dtype).tiny).log()).sum(-1)


def negative_distances(inputs_nD: Tensor, entries_KD: Tensor) -> Tensor:
    """Returns -||x - e||^2 of each pair, shape (n, K), with gradients to inputs and entries."""
    squares_n1 = inputs_nD.square().sum(-1, keepdim=True)
    return 2.0 * inputs_nD @ entries_KD.T - entries_KD.square().sum(-1) - squares_n1


def annealed(first: float, last: float, num_steps: int, step: int, shape: str = "exponential") -> float:
    """Returns the temperature after `step` updates: from `first` to `last` in `num_steps`, then constant.

    `exponential` multiplies by a constant at each step (wav2vec 2.0); `cosine` follows half a cosine wave (DALL-E).
    """
    part = min(1.0, step / num_steps)
    if shape == "cosine":
        return last + 0.5 * (first - last) * (1.0 + float(torch.cos(torch.tensor(part * torch.pi))))
    return first * (last / first) ** part


def _relax(logits_nK: Tensor, relaxation: Relaxation) -> tuple[Tensor, Tensor]:
    """Returns the scores whose argmax is the choice, and the softmax weights that carry the gradient."""
    forward = relaxation.forward_temperature
    scores_nK = logits_nK if forward is None else logits_nK / forward
    if relaxation.noise:
        scores_nK = scores_nK + gumbel_noise(logits_nK)
    weighed_nK = scores_nK if forward is None else logits_nK
    return scores_nK, (weighed_nK / relaxation.temperature).softmax(-1)


def gumbel_noise(like: Tensor) -> Tensor:
    """Returns standard Gumbel noise in the shape of `like`, drawn from torch's default generator."""
    return -torch.empty_like(like).exponential_().log()
