"""The chain over codes gives known entropies, charges for what it cannot know, and counts repeated codes once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from t5vqvae.latent.prior import CodeSequences, cross_entropies_bits, cross_entropy_bits

COUNTED, SCORED, LENGTH = 20_000, 5_000, 10


def sentences(codes_NQ: npt.NDArray[np.int64]) -> CodeSequences:
    return CodeSequences.of([codes_NQ[start : start + LENGTH] for start in range(0, len(codes_NQ), LENGTH)])


def split(codes_NQ: npt.NDArray[np.int64]) -> tuple[CodeSequences, CodeSequences]:
    return sentences(codes_NQ[:COUNTED]), sentences(codes_NQ[COUNTED:])


def even(size: int, num_codes: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, size, (COUNTED + SCORED, num_codes))


def test_two_identical_codebooks_cost_what_one_costs() -> None:
    once = even(32, 1)
    counted, scored = split(np.repeat(once, 2, axis=1))
    assert cross_entropy_bits(counted, scored, [32, 32]) == pytest.approx(5.0, abs=0.02)
    assert cross_entropy_bits(*split(once), [32]) == pytest.approx(5.0, abs=0.02)


def test_independent_codebooks_cost_their_sum() -> None:
    assert cross_entropy_bits(*split(even(32, 3)), [32, 32, 32]) == pytest.approx(15.0, abs=0.1)


def test_a_predictable_sequence_costs_its_conditional_entropy() -> None:
    rng = np.random.default_rng(0)
    follower = rng.permutation(64)
    rows = []
    for _ in range((COUNTED + SCORED) // LENGTH):
        row = [int(rng.integers(64))]
        while len(row) < LENGTH:
            row.append(int(follower[row[-1]]) if rng.random() < 0.9 else int(rng.integers(64)))
        rows.append(np.array(row)[:, None])
    counted, scored = CodeSequences.of(rows[:2000]), CodeSequences.of(rows[2000:])
    right = 0.9 + 0.1 / 64
    after_first = -right * math.log2(right) - 63 * (0.1 / 64) * math.log2(0.1 / 64)
    assert after_first == pytest.approx(1.05, abs=0.005)
    expected = (6 + 9 * after_first) / 10
    assert cross_entropy_bits(counted, scored, [64], num_before=1) == pytest.approx(expected, abs=0.05)
    assert cross_entropy_bits(counted, scored, [64], num_before=2) == pytest.approx(expected, abs=0.08)
    assert cross_entropy_bits(counted, scored, [64]) == pytest.approx(6.0, abs=0.02)


def test_a_large_codebook_is_not_cheap_for_want_of_positions() -> None:
    """Plug-in joint entropy of 24 even bits from 4,500 positions shows 12."""
    codes = even(4096, 2)[:9_000]
    counted, scored = sentences(codes[:4_500]), sentences(codes[4_500:])
    assert cross_entropy_bits(counted, scored, [4096, 4096]) == pytest.approx(24.0, abs=0.1)
    assert cross_entropy_bits(counted, scored, [4096, 4096], num_before=2) == pytest.approx(24.0, abs=0.1)


def test_all_contexts_at_once_are_those_one_by_one() -> None:
    counted, scored = split(even(6, 2))
    once = [cross_entropy_bits(counted, scored, [6, 6], num_before=number) for number in range(3)]
    assert cross_entropies_bits(counted, scored, [6, 6], 2) == once


def test_codes_that_training_never_used_have_a_finite_price() -> None:
    counted, scored = sentences(np.zeros((1_000, 1), np.int64)), sentences(np.full((10, 1), 7))
    bits = cross_entropy_bits(counted, scored, [8])
    assert 5 < bits < 30
    assert cross_entropy_bits(counted, sentences(np.zeros((10, 1), np.int64)), [8]) < 0.01


def test_context_that_says_nothing_costs_next_to_nothing() -> None:
    counted, scored = split(even(256, 1))
    assert cross_entropy_bits(counted, scored, [256], num_before=2) < cross_entropy_bits(counted, scored, [256]) + 0.03


def test_context_stays_within_a_sentence() -> None:
    """In sentences of one position nothing comes before, whatever stood in the sentence above."""
    codes = np.arange(COUNTED + SCORED)[:, None] % 8
    one_by_one = [CodeSequences.of(list(part[:, None, :])) for part in (codes[:COUNTED], codes[COUNTED:])]
    assert cross_entropy_bits(*one_by_one, [8], num_before=2) == pytest.approx(3.0, abs=0.01)
    assert cross_entropy_bits(*split(codes), [8], num_before=2) == pytest.approx(
        0.2, abs=0.02
    )  # four starts, 2 bits in 10


@pytest.mark.parametrize("wrong", [[[8]], [[-1]]])
def test_codes_outside_their_codebook_are_refused(wrong: list[list[int]]) -> None:
    good = sentences(np.zeros((10, 1), np.int64))
    with pytest.raises(ValueError, match="outside codebooks of \\[8\\] entries"):
        cross_entropy_bits(good, sentences(np.array(wrong)), [8])
