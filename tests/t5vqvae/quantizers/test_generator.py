"""Draws that agree on all workers: they differ between updates, seeds and purposes."""

from __future__ import annotations

import torch

from t5vqvae.quantizers import EMAConfig, Quantizer

NUM_UPDATES = 10_000
"""More than 4,096, the number of updates after which a counter of 12 bits repeats."""


def first_draw(quantizer: Quantizer, update: int = 0, purpose: str = "revive0") -> int:
    """Returns the first number drawn for a purpose at an update: 62 bits, so equal numbers mean equal states."""
    quantizer._num_updates.fill_(update)
    return int(torch.randint(1 << 62, (), generator=quantizer.generator(purpose)))


def quantizer_with(seed: int) -> Quantizer:
    return EMAConfig(codebook_size=2, start="random").build(1, seed=seed)


def test_no_two_of_many_updates_draw_the_same() -> None:
    quantizer = quantizer_with(0)
    assert len({first_draw(quantizer, update) for update in range(NUM_UPDATES)}) == NUM_UPDATES


def test_seeds_and_purposes_draw_differently() -> None:
    quantizers = [quantizer_with(seed) for seed in (0, 1, 4096, 1 << 40)]
    purposes = ("start", "map", "revive0", "revive1", "revive0-1")
    draws = {first_draw(quantizer, 5, purpose) for quantizer in quantizers for purpose in purposes}
    assert len(draws) == len(quantizers) * len(purposes)


def test_equal_ones_draw_the_same_whatever_was_drawn_before() -> None:
    torch.manual_seed(0)
    one = first_draw(quantizer_with(3), 7)
    torch.manual_seed(1)
    assert first_draw(quantizer_with(3), 7) == one
