"""The numbers of an ablation once more, from MLflow's stored runs alone: nothing of `tune` is imported here.

`python tests/support/recompute.py NAME REPORT_FOLDER [--uri URI]` prints both numbers side by side and exits with 1
where they differ. Tests and corrections come from scipy and statsmodels, the permutation interval from a bisection,
that of a t test from scipy. Of a fraction's interactions that are one contrast under several names, one is compared.
The best tuning run of every arm and seed is looked for anew: the run of the comparison must have its settings.
"""

from __future__ import annotations

import argparse
import ast
import csv
import itertools
import math
import os
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from scipy import stats
from statsmodels.stats.multitest import multipletests

NAMES = ("mean", "p_value", "p_adjusted", "num_seeds", "low", "high")


@dataclass(frozen=True)
class Stored:
    """What MLflow holds of an ablation: the study's parameters, its runs of the comparison, and its tuning runs."""

    parameters: dict[str, str]
    runs: list[Run]
    tuning: list[Run]

    def by_arm(self) -> dict[str, dict[str, Run]]:
        """Returns `{arm: {seed: completed run}}`; an arm without any is there, empty."""
        found: dict[str, dict[str, Run]] = {}
        for run in self.runs:
            seeds = found.setdefault(run.data.tags["arm"], {})
            if run.info.status == "FINISHED":
                seeds[run.data.tags["seed"]] = run
        return found


def read(uri: str, name: str) -> Stored:
    """Returns what the tracking store at `uri` holds of the ablation `name`."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = list(client.search_runs([experiment], max_results=5000))
    parents = [run for run in runs if run.data.tags.get("ablation") == "true"]
    assert len(parents) == 1, f"{len(parents)} studies called {name}"
    kept = [run for run in runs if "superseded" not in run.data.tags]
    compared, tuning = ([r for r in kept if r.data.tags.get("phase") == phase] for phase in ("comparison", "tuning"))
    return Stored(parents[0].data.params, compared, tuning)


def wrongly_tuned(stored: Stored) -> list[str]:
    """Returns where a run of the comparison was not tuned as the study says, in words."""
    per_seed, found = stored.parameters.get("tuning") == "per_seed", []
    seeds = {run.data.tags["seed"] for run in stored.runs}
    if common := sorted(seeds & {run.data.tags["seed"] for run in stored.tuning}):
        found.append(f"seeds {common} are tuned on and compared on")
    for run in stored.runs if stored.tuning else ():
        arm, seed = run.data.tags["arm"], run.data.tags["seed"]
        mine = [t for t in stored.tuning if t.data.tags["arm"] == arm]
        mine = [t for t in mine if not per_seed or t.data.tags["tunes"] == seed]
        if len(mine) != int(stored.parameters["trials_per_arm"]):
            found.append(f"{arm}, seed {seed}: {len(mine)} tuning runs")
        elif apart := _apart(run, _best(mine, stored.parameters)):
            found.append(f"{arm}, seed {seed}: {apart} are not those of its best tuning run")
    return found


def _best(runs: list[Run], parameters: dict[str, str]) -> Run | None:
    """Returns the best of the tuning runs that completed; of equal ones, the first candidate."""
    sign, metric = (-1 if parameters["objective.direction"] == "maximize" else 1), parameters["objective.metric"]
    done = [run for run in runs if run.info.status == "FINISHED" and math.isfinite(run.data.metrics[metric])]
    return min(done, key=lambda r: (sign * r.data.metrics[metric], int(r.data.tags["candidate"])), default=None)


def _apart(run: Run, best: Run | None) -> list[str]:
    """Returns the parameters but the seed that two runs do not share."""
    if best is None:
        return []
    names = run.data.params.keys() | best.data.params.keys()
    return sorted(n for n in names - {"seed"} if run.data.params.get(n) != best.data.params.get(n))


def arms(stored: Stored) -> dict[str, dict[str, float]]:
    """Returns `{arm: its numbers}`."""
    metric, by_arm = stored.parameters["objective.metric"], stored.by_arm()
    baseline = by_arm.pop("baseline")
    differences = {}
    for arm, runs in by_arm.items():
        pairs = [(runs[seed], baseline[seed]) for seed in sorted(runs, key=int) if seed in baseline]
        differences[arm] = [mine.data.metrics[metric] - other.data.metrics[metric] for mine, other in pairs]
    return numbers(differences, stored.parameters)


def factors(stored: Stored, reported: Container[str] = ()) -> dict[str, dict[str, float]]:
    """Returns `{main effect or interaction: its numbers}` of a factorial design; empty for other studies.

    Args:
        stored: The ablation.
        reported: The names that a report has, each with its factors in alphabetical order.
    """
    if stored.parameters.get("design.name") not in ("factorial", "fractional"):
        return {}
    stem = "design.factors."
    levels = {n.removeprefix(stem): _levels(v) for n, v in stored.parameters.items() if n.startswith(stem)}
    metric, baseline = stored.parameters["objective.metric"], stored.by_arm()["baseline"]
    some = next(iter(baseline.values()))
    order = {path: [some.data.params[path], *map(str, values)] for path, values in levels.items()}
    cells: dict[tuple[int, ...], dict[str, float]] = {}
    for run in stored.runs:
        cell = tuple(order[path].index(run.data.params[path]) for path in order)
        cells.setdefault(cell, {})[run.data.tags["seed"]] = run.data.metrics[metric]
    differences = dict(_contrasts(order, cells))
    if stored.parameters["design.name"] == "fractional":
        differences = _without_aliases(differences, reported)
    return numbers(differences, stored.parameters)


def _levels(stored: str) -> list[object]:
    """Returns the further levels of a factor: a list, or a single one as it was written."""
    try:
        found = ast.literal_eval(stored)
    except ValueError:
        found = stored
    return list(found) if isinstance(found, list | tuple) else [found]


def _without_aliases(differences: dict[str, list[float]], reported: Container[str]) -> dict[str, list[float]]:
    """Returns one contrast of each set that agree but for the sign: the one that a report has, or else the first."""
    sets: dict[tuple[float, ...], list[str]] = {}
    for name, values in differences.items():
        sets.setdefault(tuple(np.abs(np.round(values, 9))), []).append(name)
    chosen = [next((name for name in names if _unordered(name) in reported), names[0]) for names in sets.values()]
    return {name: differences[name] for name in chosen}


def _contrasts(
    order: dict[str, list[str]], cells: dict[tuple[int, ...], dict[str, float]]
) -> Iterator[tuple[str, list[float]]]:
    paths, seeds = list(order), sorted(set.intersection(*(set(cell) for cell in cells.values())), key=int)

    def mean(fixed: dict[int, int], seed: str) -> float:
        return float(np.mean([v[seed] for cell, v in cells.items() if all(cell[i] == at for i, at in fixed.items())]))

    for i, path in enumerate(paths):
        for at in range(1, len(order[path])):
            yield f"{path}[{at}]", [mean({i: at}, seed) - mean({i: 0}, seed) for seed in seeds]
    for i, j in itertools.combinations(range(len(paths)), 2):
        for a, b in itertools.product(range(1, len(order[paths[i]])), range(1, len(order[paths[j]]))):
            yield (
                f"{paths[i]}[{a}] x {paths[j]}[{b}]",
                [
                    mean({i: a, j: b}, s) - mean({i: a, j: 0}, s) - mean({i: 0, j: b}, s) + mean({i: 0, j: 0}, s)
                    for s in seeds
                ],
            )


def numbers(differences: dict[str, list[float]], parameters: dict[str, str]) -> dict[str, dict[str, float]]:
    """Returns mean, p-value of the declared test, Holm's, and its interval of each list of paired differences."""
    alpha, test = float(parameters["alpha"]), parameters["test"]
    p_value, interval = (t_p, t_interval) if test == "t" else (permutation_p, _inverted)
    p_values = [p_value(np.asarray(values)) if values else 1.0 for values in differences.values()]
    adjusted = multipletests(p_values, method="holm")[1]
    found = {}
    for (name, values), p, q in zip(differences.items(), p_values, adjusted, strict=True):
        if not values:  # counts for Holm, but has no numbers
            continue
        low, high = interval(np.asarray(values), alpha)
        mean = float(np.mean(values))
        row = (mean, p, float(q), float(len(values)), low, high)
        found[name] = dict(zip(NAMES, row, strict=True))
    return found


def t_p(values: np.ndarray) -> float:
    """Returns the two-sided p-value of Student's paired test."""
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def t_interval(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """Returns the interval of Student's paired test."""
    found = stats.ttest_1samp(values, 0.0).confidence_interval(1 - alpha)
    return float(found.low), float(found.high)


def permutation_p(values: np.ndarray) -> float:
    """Returns the two-sided p-value over all sign patterns."""
    if not np.any(values):
        return 1.0
    found = stats.permutation_test(
        (values,),
        lambda x, axis: np.abs(np.mean(x, axis=axis)),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    )
    return float(found.pvalue)


def _inverted(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """Returns the means that the test does not reject, by bisection from beyond all values."""
    if 2.0 ** (1 - values.size) > alpha:
        return -math.inf, math.inf
    ends = []
    for outside in (values.min() - 1e-6, values.max() + 1e-6):
        inside = float(values.mean())
        for _ in range(45):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if permutation_p(values - middle) <= alpha else (middle, outside)
        ends.append(float(outside))
    return ends[0], ends[1]


def differing(stored: Stored, folder: Path, say: bool = False) -> list[str]:
    """Returns where `effects.csv` of a report differs from what MLflow's runs give, in words."""
    with (folder / "effects.csv").open(newline="") as file:
        reported = {_unordered(row["name"]): row for row in csv.DictReader(file) if row["mean"]}
    mine = {_unordered(name): row for name, row in (arms(stored) | factors(stored, reported)).items()}
    found = wrongly_tuned(stored)
    if missing := reported.keys() ^ mine.keys():
        found.append(f"only on one side: {sorted(missing)}")
    for name in reported.keys() & mine.keys():
        for key, value in mine[name].items():
            other = float(reported[name][key])
            if say:
                print(f"{name:45} {key:10} {value:12.6g} {other:12.6g}")
            if not math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-9):
                found.append(f"{name}: {key} is {value!r} from MLflow and {other!r} in the report")
    return found


def _unordered(name: str) -> str:
    """Returns an interaction's name with its factors in alphabetical order: MLflow does not keep the design's."""
    return " x ".join(sorted(name.split(" x ")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--uri", default=os.environ.get("MLFLOW_TRACKING_URI"))
    options = parser.parse_args(arguments)
    found = differing(read(options.uri, options.name), options.folder, say=True)
    print("\n".join(found) or "all numbers agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
