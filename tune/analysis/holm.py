"""Corrects p-values for several arms against one baseline (Holm), and computes the seeds that this requires.

Holm 1979 multiplies the sorted p-values by m, m - 1, ..., and makes them monotone. This bounds the chance of any false
claim by alpha for any dependence between the arms (arms are dependent: they share the baseline's runs).
"""

from __future__ import annotations

from collections.abc import Sequence

from tune.analysis.effect import Test
from tune.analysis.permutation import smallest_p


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the adjusted p-values, in the given order and in [0, 1].

    Args:
        p_values: One for every planned test. Pass 1.0 for a test that could not be made: a broken arm must not make
            the other tests easier to pass.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def smallest_adjusted_p(num_pairs: int, num_tests: int, test: Test = "permutation") -> float:
    """Returns the smallest p-value that one of `num_tests` tests can reach after Holm.

    Args:
        num_pairs: Pairs of each test; with fewer than two the result is 1.
        num_tests: Number of planned tests.
        test: The t test has no floor; its result is 0.
    """
    if num_pairs < 2:
        return 1.0
    return min(1.0, num_tests * smallest_p(num_pairs)) if test == "permutation" else 0.0


def pairs_needed(num_tests: int, alpha: float, test: Test = "permutation") -> int:
    """Returns the fewest pairs with which an adjusted p-value can be at most alpha, in (0, 1)."""
    num_pairs = 2
    while smallest_adjusted_p(num_pairs, num_tests, test) > alpha:
        num_pairs += 1
    return num_pairs
