"""Error rates of the tests of an ablation, simulated: looking early, equivalence at the margin, skewed differences.

    python -m tests.benchmarks.error_rates --output tests/benchmarks/results/error_rates.md

All differences are drawn from one distribution with the mean that the tested hypothesis has: `normal`, or `skewed`, an
exponential one less its mean. The stated rate is .05 everywhere. Only the project's own functions decide.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from tune.analysis import SequentialPlan, bootstrap_t_interval, equivalence, paired_effect, sign_test
from tune.analysis.sequential import Spending

LOOKS = ((4, 8), (4, 8, 12), (6, 12), (5, 10, 15, 20))
SPENDINGS: tuple[Spending, ...] = ("obrien_fleming", "pocock")
SHAPES = ("normal", "skewed")
PAIRS = (8, 12)
MARGIN = 1.0
"""In standard deviations of the differences."""


def drawn(shape: str, studies: int, pairs: int, seed: int = 0) -> np.ndarray:
    """Returns differences of mean 0 and standard deviation 1, a row for each study."""
    rng = np.random.default_rng([seed, pairs])
    return rng.normal(size=(studies, pairs)) if shape == "normal" else rng.exponential(size=(studies, pairs)) - 1


def sequential_error(looks: Sequence[int], spending: Spending, studies: int) -> float:
    """Returns the share of null studies that a plan stops for an effect."""
    plan = SequentialPlan(tuple(looks), spending=spending)
    rows = drawn("normal", studies, looks[-1])
    return float(np.mean([any(plan.decide(row[:look]) == "effect" for look in plan.looks) for row in rows]))


def equivalence_error(shape: str, pairs: int, test: str, studies: int) -> tuple[float, float]:
    """Returns the share of studies called equivalent whose mean lies at the upper and at the lower margin."""
    rows = drawn(shape, studies, pairs)
    shares = [
        np.mean([equivalence(row + at, MARGIN, test=test).p_value <= 0.05 for row in rows])  # type: ignore[arg-type]
        for at in (MARGIN, -MARGIN)
    ]
    return float(shares[0]), float(shares[1])


def difference_errors(shape: str, pairs: int, studies: int) -> tuple[list[float], float]:
    """Returns the share of studies in which each answer leaves a mean of zero out, and the share with a doubt."""
    rows, found = drawn(shape, studies, pairs), []
    for row in rows:
        flips, by_t = paired_effect(row), paired_effect(row, test="t")
        low, high = bootstrap_t_interval(row, 0.95, num_resamples=999)
        left_out = [flips.p_value <= 0.05, by_t.p_value <= 0.05, not low <= 0 <= high, sign_test(row) <= 0.05]
        found.append([*left_out, flips.doubt is not None])
    *shares, doubted = np.mean(found, axis=0)
    return [float(share) for share in shares], float(doubted)


def sections(studies: int) -> Iterator[str]:
    """Yields the tables."""
    yield "## Looking early\n\n| looks | O'Brien-Fleming | Pocock |\n| --- | ---: | ---: |"
    for looks in LOOKS:
        shares = [_text(sequential_error(looks, spending, 2 * studies)) for spending in SPENDINGS]
        yield f"| {', '.join(map(str, looks))} pairs | {' | '.join(shares)} |"
    yield (
        f"\n## Equivalence, with the mean at the margin ({MARGIN:g} standard deviation)\n\n"
        "| differences | pairs | sign flips: upper margin | lower | t tests: upper | lower |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for shape, pairs in product(SHAPES, PAIRS):
        shares = [
            _text(share) for test in ("permutation", "t") for share in equivalence_error(shape, pairs, test, studies)
        ]
        yield f"| {shape} | {pairs} | {' | '.join(shares)} |"
    yield (
        "\n## A mean of zero left out\n\n"
        "The sign test speaks about the median, which is not zero where differences are skewed.\n\n"
        "| differences | pairs | sign flips | t test | bootstrap-t | sign test | symmetry in doubt |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for shape, pairs in product(SHAPES, PAIRS):
        shares, doubted = difference_errors(shape, pairs, studies)
        yield f"| {shape} | {pairs} | {' | '.join(map(_text, shares))} | {_text(doubted)} |"


def _text(share: float) -> str:
    return f"{share:.3f}".removeprefix("0")


def main() -> None:
    """Simulates and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = [
        "# Error rates of the tests of an ablation\n",
        f"`python -m tests.benchmarks.error_rates`, {options.studies:,} studies a cell, twice as many for looking"
        " early; the stated rate is .05.\n",
    ]
    for line in sections(options.studies):
        lines.append(line)
        print(line, flush=True)
    if options.output is not None:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
