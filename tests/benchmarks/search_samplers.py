"""TPE with successive halving against random search: training steps until the best loss is nearly reached.

    python -m tests.benchmarks.search_samplers [--seeds 10] [--steps 18000] [--output FILE.md]

Trials are replayed, not trained: losses come from the surface through recorded real trainings (`search_curves.py`), and
the study's own sampler (`Suggestions`) and halving (`Rungs`) decide, without Ray, one trial at a time. Found is a final
or intermediate loss of at most the best recorded run's final loss / 0.99. Intervals are 95% bootstrap ones over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.benchmarks.search_curves import EVERY, FILE, MILESTONES, STEPS, Surface, study
from tests.benchmarks.search_tables import described, parser, write
from tune.execution.asha import Rungs
from tune.sampling.suggestions import Suggestions

SHARE = 0.99
RANDOM, TPE = {"name": "random"}, {"name": "tpe", "num_startup": 10}
OUT, HALF = {"name": "none"}, {"name": "asha"}
QUARTER = {"name": "asha", "grace_steps": STEPS // 4, "reduction_factor": 2}
"""Past the warm-up of 20."""
SIDES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "random": (RANDOM, OUT),
    "TPE": (TPE, OUT),
    "TPE + ASHA, as it is by default: one in three after half a trial": (TPE, HALF),
    "TPE + ASHA, one in two after half a trial": (TPE, {**HALF, "reduction_factor": 2}),
    "TPE + ASHA, one in two after a quarter and a half": (TPE, QUARTER),
    "random + ASHA, one in two after a quarter and a half": (RANDOM, QUARTER),
}
"""Sampler and scheduler of each search."""


def steps_until(surface: Surface, goal: float, seed: int, side: str, most: int) -> float:
    """Returns the training steps of a search until a trial's loss is at most `goal`; infinite if not within `most`."""
    sampler, scheduler = SIDES[side]
    spec = study(sampler=sampler, scheduler=scheduler, seed=seed, budget={"trials": most // EVERY})
    suggestions, steps = Suggestions(spec), 0
    halves, factor = spec.scheduler.name == "asha", spec.scheduler.reduction_factor
    rungs = Rungs(spec.grace_steps, STEPS, factor, "minimize") if halves else None
    while steps < most and (suggestion := suggestions.next()) is not None:
        for step, loss in lived(surface.curve(suggestion.overrides), suggestion.number, rungs):
            steps += EVERY
            if loss <= goal:
                return float(steps)
            suggestions.report(suggestion.number, metrics(step, loss))
        suggestions.end(suggestion.number, "completed" if step == STEPS else "pruned", metrics(step, loss))
    return np.inf


def lived(curve: np.ndarray, number: int, rungs: Rungs | None) -> Iterator[tuple[int, float]]:
    """Yields the milestones of a trial up to where halving stops it; the last step is never cut."""
    for step, loss in zip(MILESTONES, map(float, curve), strict=True):
        yield step, loss
        if rungs is not None and step < STEPS and not rungs.survives(number, step, loss):
            return


def metrics(step: int, loss: float) -> dict[str, float]:
    """Returns a milestone's metrics."""
    return {"progress/step": float(step), "validation/nll": loss, "rate/bits_per_token": 8.0}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Returns the geometric mean of positive values and its 95% bootstrap interval."""
    logs = np.log(values)
    means = np.random.default_rng(0).choice(logs, (10_000, len(logs))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))


def table(found: dict[str, np.ndarray], surface: Surface, most: int, command: str) -> str:
    """Returns the result as Markdown; a search that did not get there counts with all its steps."""
    errors, best = surface.errors(), surface.best
    lines = [
        "# TPE with ASHA against random search",
        "",
        *described(command),
        "",
        f"A surrogate: cubic splines through {len(surface.points)} recorded trainings of {STEPS} steps"
        f" (`{FILE.name}`), which miss a left-out run's final loss by {np.median(errors):.3f} nats in the median, over"
        f" final losses of {surface.curves[:, -1].min():.2f} to {surface.curves[:, -1].max():.2f}; no noise between"
        f" seeds of a training. The goal is {best / SHARE:.4f} nats a token, the best recorded run's over {SHARE}."
        f" Geometric means over {len(next(iter(found.values())))} seeds with 95% bootstrap intervals, ratios paired by"
        f" seed; at most {most:,} steps a search, which count in full where it did not get there.",
        "",
        "| search | got there | training steps until then | over random | over TPE |",
        "| --- | --- | --- | --- | --- |",
    ]
    spent = {side: np.minimum(steps, most) for side, steps in found.items()}
    for side, steps in spent.items():
        reached = int(np.isfinite(found[side]).sum())
        mean, low, high = interval(steps)
        cells = [side, f"{reached} of {len(steps)}", f"{mean:,.0f} ({low:,.0f} to {high:,.0f})"]
        for other in ("random", "TPE"):
            ratio, low, high = interval(steps / spent[other])
            cells.append(f"{ratio:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Searches, prints and writes the table."""
    options = parser(__doc__, seeds=10, steps=18_000).parse_args()
    surface = Surface()
    goal = surface.best / SHARE
    found = {}
    for side in SIDES:
        found[side] = np.array([steps_until(surface, goal, seed, side, options.steps) for seed in range(options.seeds)])
        print(side, found[side], flush=True)
    command = f"search_samplers --seeds {options.seeds} --steps {options.steps}"
    write(table(found, surface, options.steps, command), options.output)


if __name__ == "__main__":
    main()
