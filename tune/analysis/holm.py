"""Several arms against one baseline: Holm's correction, and the seeds it takes to be able to show anything.

Holm 1979: sorted p-values times m, m - 1, ..., made monotone. It bounds the chance of any false claim by alpha
without assuming anything about the dependence of the arms (they share the baseline's runs, so they do depend).
"""

from __future__ import annotations

from collections.abc import Sequence

from tune.analysis.effect import Test
from tune.analysis.permutation import smallest_p


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the adjusted p-values, in the given order and in [0, 1].

    Give one for every planned test, 1.0 where it could not be made: an arm that broke does not make the rest easier.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def smallest_adjusted_p(num_pairs: int, num_tests: int, test: Test = "permutation") -> float:
    """Returns the smallest p-value that `num_tests` tests over `num_pairs` pairs each can have after Holm.

    0 for the t test, which has no such floor (from two pairs on).
    """
    if num_pairs < 2:
        return 1.0
    return min(1.0, num_tests * smallest_p(num_pairs)) if test == "permutation" else 0.0


def pairs_needed(num_tests: int, alpha: float, test: Test = "permutation") -> int:
    """Returns the fewest pairs whose smallest adjusted p-value is at most alpha (in (0, 1))."""
    num_pairs = 2
    while smallest_adjusted_p(num_pairs, num_tests, test) > alpha:
        num_pairs += 1
    return num_pairs
