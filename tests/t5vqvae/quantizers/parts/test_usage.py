"""Usage: entropy, perplexity and the share of codes in use, by hand."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.quantizers.parts.usage import count_codes, entropy_bits, perplexity, usage


def test_counts_ignore_padding() -> None:
    codes_BTQ = torch.tensor([[[0, 1], [2, 1], [-1, -1]], [[0, 0], [-1, -1], [-1, -1]]])
    counts = count_codes(codes_BTQ, (3, 2))
    assert [c.tolist() for c in counts] == [[2, 0, 1], [1, 2]]


def test_counts_can_be_summed_over_batches() -> None:
    codes_NQ = torch.randint(0, 7, (50, 1))
    parts = [count_codes(part, (7,))[0] for part in codes_NQ.split(13)]
    assert torch.equal(torch.stack(parts).sum(0), count_codes(codes_NQ, (7,))[0])


@pytest.mark.parametrize(("counts", "bits"), [([5], 0.0), ([1, 1, 1, 1], 2.0), ([2, 1, 1, 0], 1.5), ([0, 9, 0], 0.0)])
def test_entropy_and_perplexity_by_hand(counts: list[int], bits: float) -> None:
    assert entropy_bits(torch.tensor(counts)) == pytest.approx(bits)
    assert perplexity(torch.tensor(counts)) == pytest.approx(2**bits)


def test_usage_is_not_blamed_for_a_small_set() -> None:
    assert usage(torch.tensor([1, 1, 0, 0, 0, 0])) == 1.0
    assert usage(torch.tensor([3, 3, 0, 0])) == 0.5


@pytest.mark.parametrize("measure", [entropy_bits, perplexity, usage])
def test_no_codes_have_no_measure(measure: object) -> None:
    with pytest.raises(ValueError, match="counts_K is all zero"):
        measure(torch.zeros(4, dtype=torch.int64))
