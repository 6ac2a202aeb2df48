"""Sums of workers: joined, they are the sums of one worker that saw everything."""

from __future__ import annotations

import torch

from t5vqvae.evaluation.sums import Sums, add_counts


def sums_of(*parts: int) -> Sums:
    """The sums over batches that are numbered; batch 2 has no codes, batch 3 no measure."""
    total = Sums()
    for part in parts:
        total.nll += part
        total.num_tokens += 10 * part
        total.counts = add_counts(total.counts, [] if part == 2 else [torch.tensor([part, 1])])
        total.measure({} if part == 3 else {"rate/kl_bits_per_token": (float(part), 2.0)})
        total.codes[part] = [[part]]
        total.decoded.append((part, "source", "target", "text", ""))
    return total


def test_merged_sums_equal_those_of_one_worker() -> None:
    for split in range(5):
        mine, theirs = sums_of(*range(1, split + 1)), sums_of(*range(split + 1, 5))
        mine.merge(theirs)
        whole = sums_of(1, 2, 3, 4)
        assert [count.tolist() for count in mine.counts] == [count.tolist() for count in whole.counts]
        mine.counts, whole.counts = [], []
        assert mine == whole
