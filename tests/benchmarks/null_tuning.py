"""Null studies of tuned ablations: how often something is claimed where there is nothing, and what intervals cover.

    python -m tests.benchmarks.null_tuning --output tests/benchmarks/results/null_tuning.md

In a null study, arms and baseline are the same: their loss is a seed's level, a parabola over the decades of the
learning rate, and the luck of the run. Candidates, choice and comparison are the project's own functions (`candidates`,
`choose`, `compare_arms`); only the training is simulated. `per_seed` tunes every seed of the comparison on a seed of
its own, `shared` tunes an arm once for all.

A cell fails when a binomial test at .001 finds that more than .05 of its studies claim anything (fewer is what Holm
and few sign patterns give), or that its intervals do not cover zero, the true effect, in .95 of the studies. Coverage
counts one arm a study, because the arms of a study share a baseline.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy import stats

from tune.ablation.ablation_sections import Tuning
from tune.ablation.nuisance import candidates, choose
from tune.analysis import Question, RunRow, compare_arms
from tune.space.space import SearchSpace
from tune.spec.objective import Objective

METRIC, RATE, SEEDS = "validation/nll_per_char", "optim.learning_rate", tuple(range(10))
SPACE = SearchSpace.parse({RATE: {"type": "float", "low": 5e-4, "high": 8e-3, "log": True}})
BASE = {RATE: 2e-3}
BEST = 3e-3
"""The best learning rate, which is not the baseline's own."""
LEVELS = 0.05
"""Standard deviation of the levels of seeds, which all arms share."""
REJECT = 0.001
OBJECTIVE = Objective.parse({"metric": METRIC})
QUESTION = Question(METRIC, "minimize", secondary=())


@dataclass(frozen=True)
class Cell:
    """One kind of null study.

    Attributes:
        spread: Standard deviation of a run's luck, in nats a character.
        curvature: Loss at one decade from the best learning rate.
        num_candidates: Candidates an arm.
        num_arms: Arms without the baseline.
    """

    spread: float
    curvature: float
    num_candidates: int
    num_arms: int

    @property
    def name(self) -> str:
        """The cell in words."""
        return (
            f"spread {self.spread}, curvature {self.curvature}, {self.num_candidates} candidates, arms {self.num_arms}"
        )


CELLS = [Cell(*values) for values in product((0.005, 0.02), (0.0, 0.1, 0.5), (3, 8), (1, 4))]


@dataclass(frozen=True)
class Rates:
    """What came of the studies of a cell.

    Attributes:
        studies: Number of studies.
        claims: Studies in which at least one arm is claimed to differ.
        covered: Studies whose interval of the first arm contains its true effect.
        found: Studies in which the first arm is claimed to differ.
        sd: Root mean square of the first arm's standard deviation of paired differences.
    """

    studies: int
    claims: int
    covered: int
    found: int
    sd: float

    @property
    def p_claims(self) -> float:
        """P-value of at most .05 claims."""
        return float(stats.binomtest(self.claims, self.studies, 0.05, alternative="greater").pvalue)

    @property
    def p_covered(self) -> float:
        """P-value of a coverage of .95."""
        return float(stats.binomtest(self.covered, self.studies, 0.95).pvalue)

    @property
    def fails(self) -> bool:
        """Whether one of the two rates is not as stated."""
        return min(self.p_claims, self.p_covered) < REJECT


def simulate(cell: Cell, tuning: Tuning, studies: int, seed: int = 0, effect: float = 0.0) -> Rates:
    """Returns the rates of simulated studies of a cell.

    Args:
        cell: The kind of study.
        tuning: As in an ablation's spec.
        studies: Number of studies.
        seed: Seed of all luck.
        effect: What the first arm's loss has on top; zero for null studies.
    """
    rng = np.random.default_rng([seed, *(int(1000 * value) for value in (cell.spread, cell.curvature))])
    claims = covered = found = 0
    variance = 0.0
    for _ in range(studies):
        rows = list(_runs(rng, cell, tuning, effect))
        results = compare_arms(rows, "baseline", _names(cell)[1:], SEEDS, QUESTION).arms
        first = results[0].effect
        assert first is not None
        claims += any(result.verdict != "undecided" for result in results)
        found += results[0].verdict in ("better", "worse")
        covered += first.low <= effect <= first.high
        variance += first.sd**2
    return Rates(studies, claims, covered, found, math.sqrt(variance / studies))


def _names(cell: Cell) -> list[str]:
    return ["baseline", *(f"arm {i}" for i in range(1, cell.num_arms + 1))]


def _runs(rng: np.random.Generator, cell: Cell, tuning: Tuning, effect: float) -> Iterator[RunRow]:
    """Yields the runs of the comparison of one study."""
    names, levels = _names(cell), rng.normal(0, LEVELS, len(SEEDS))
    tuned = _tuned(rng, cell) if tuning == "shared" else {}
    for seed, level in zip(SEEDS, levels, strict=True):
        chosen = tuned or _tuned(rng, cell)
        luck = rng.normal(0, cell.spread, len(names))
        for name, own in zip(names, luck, strict=True):
            value = level + _loss(cell, chosen[name]) + own + (effect if name == "arm 1" else 0.0)
            yield RunRow(name, seed, "completed", {METRIC: float(value)})


def _tuned(rng: np.random.Generator, cell: Cell) -> dict[str, float]:
    """Returns each arm's learning rate: the best of the same candidates, each trained once by each arm."""
    points = candidates(SPACE, BASE, cell.num_candidates, int(rng.integers(2**31)))
    names, found = _names(cell), {}
    luck = rng.normal(0, cell.spread, (len(names), len(points)))
    for name, own in zip(names, luck, strict=True):
        losses = [_loss(cell, point[RATE]) + one for point, one in zip(points, own, strict=True)]
        rows = [RunRow(name, 1000, "completed", {METRIC: float(loss)}) for loss in losses]
        chosen = choose(list(zip(points, rows, strict=True)), OBJECTIVE)
        assert chosen is not None
        found[name] = chosen[RATE]
    return found


def _loss(cell: Cell, rate: float) -> float:
    return cell.curvature * math.log10(rate / BEST) ** 2


def table(found: Sequence[tuple[Cell, Rates, Rates]]) -> str:
    """Returns the table of all cells, and how many fail."""
    head = ["cell", "false claims", "coverage", "fails", "shared: false claims", "coverage", "fails"]
    lines = [f"| {' | '.join(head)} |", "| --- | ---: | ---: | --- | ---: | ---: | --- |"]
    for cell, *both in found:
        cells = [text for rates in both for text in _texts(rates)]
        lines.append(f"| {' | '.join([cell.name, *cells])} |")
    failing = [sum(pair[i].fails for _, *pair in found) for i in (0, 1)]
    text = f"Of {len(found)} cells {failing[0]} fail with a tuning for each seed, and {failing[1]} with a shared one."
    return "\n".join([*lines, "", text])


def _texts(rates: Rates) -> list[str]:
    shares = [f"{share / rates.studies:.3f}".removeprefix("0") for share in (rates.claims, rates.covered)]
    return [*shares, "fails" if rates.fails else "-"]


def main() -> None:
    """Simulates every cell and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = []
    for cell in CELLS:
        found.append((cell, simulate(cell, "per_seed", options.studies), simulate(cell, "shared", options.studies)))
        print(cell.name, *_texts(found[-1][1]), *_texts(found[-1][2]), flush=True)
    text = (
        "# Null studies of tuned ablations\n\n"
        f"`python -m tests.benchmarks.null_tuning`, {options.studies:,} studies a cell and way of tuning, {len(SEEDS)}"
        f" seeds, Python {platform.python_version()}, numpy {np.__version__}. What a cell is, and when it fails, stands"
        f" at the top of the script.\n\n{table(found)}\n"
    )
    if options.output is not None:
        options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
