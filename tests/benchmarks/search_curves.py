"""Learning curves of real trainings over a small space, recorded once, and the surface that is drawn through them.

    python -m tests.benchmarks.search_curves --runs 64

trains a small model on generated expressions at each of the first points of a Sobol sequence and writes the validation
loss at every milestone to `results/search_curves.csv`, a line a run. What is there already is not trained again.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.stats.qmc import Sobol

from tune.spec.search_spec import SearchSpec

FILE = Path(__file__).parent / "results" / "search_curves.csv"
STEPS, EVERY = 120, 10
MILESTONES = list(range(EVERY, STEPS + 1, EVERY))
SPACE: dict[str, dict[str, Any]] = {
    "optim.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "quantizer.decay": {"type": "float", "low": 0.7, "high": 0.995},
    "quantizer.codebook_size": {"type": "int", "low": 16, "high": 512, "log": True},
}
BASE = {
    "data.corpus.name": "math",
    "data.corpus.size": 2000,
    "model.d_model": 64,
    "model.d_ff": 128,
    "quantizer.codebook_size": 128,
    "train.max_steps": STEPS,
    "train.eval_every": EVERY,
    "train.batch_size": 32,
    "train.device": "cpu",
    "evaluate.num_examples": 100,
    "evaluate.num_generated": 0,
}


def study(**changes: Any) -> SearchSpec:
    """Returns a search of that space by validation loss."""
    return SearchSpec.parse(
        {"name": "curves", "base": BASE, "space": SPACE, "objectives": [{"metric": "validation/nll"}], **changes}
    )


def place(overrides: dict[str, Any]) -> list[float]:
    """Returns a point of the space in the unit cube."""
    return [_unit(range_, float(overrides[path])) for path, range_ in SPACE.items()]


def _unit(range_: dict[str, Any], value: float) -> float:
    low, high = range_["low"], range_["high"]
    if range_.get("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _value(range_: dict[str, Any], unit: float) -> float | int:
    low, high = range_["low"], range_["high"]
    value = low * (high / low) ** unit if range_.get("log") else low + unit * (high - low)
    return round(value) if range_["type"] == "int" else value


def drawn_through(points: np.ndarray, curves: np.ndarray) -> RBFInterpolator:
    """Returns cubic splines through curves at points of the unit cube."""
    return RBFInterpolator(points, curves, kernel="cubic")


class Surface:
    """The loss at every milestone for any settings, by splines through the recorded curves."""

    def __init__(self, file: Path = FILE) -> None:
        with file.open() as lines:
            rows = list(csv.DictReader(lines))
        self.points = np.array([place(row) for row in rows])
        self.curves = np.array([[float(row[f"nll_{step}"]) for step in MILESTONES] for row in rows])
        self._surface = drawn_through(self.points, self.curves)

    def curve(self, overrides: dict[str, Any]) -> np.ndarray:
        """Returns the loss at each of `MILESTONES`."""
        return self._surface(np.array([place(overrides)]))[0]

    @property
    def best(self) -> float:
        """The lowest final loss of a recorded run."""
        return float(self.curves[:, -1].min())

    def errors(self) -> np.ndarray:
        """Returns the error of each recorded final loss when it is drawn from the others."""
        others = np.arange(len(self.points))
        surfaces = [
            RBFInterpolator(self.points[others != i], self.curves[others != i], kernel="linear") for i in others
        ]
        predicted = np.array([surface(self.points[i : i + 1])[0, -1] for i, surface in enumerate(surfaces)])
        return np.abs(predicted - self.curves[:, -1])


def record(num_runs: int) -> None:
    """Trains what is missing of the first `num_runs` points."""
    import torch

    from t5vqvae.training.trainer import train

    torch.set_num_threads(1)

    units = Sobol(len(SPACE), scramble=False).random(num_runs)
    done = len(FILE.read_text().splitlines()) - 1 if FILE.exists() else 0
    FILE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as cache, FILE.open("a") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow([*SPACE, *(f"nll_{step}" for step in MILESTONES)])
        for unit in units[done:]:
            overrides = {path: _value(range_, u) for (path, range_), u in zip(SPACE.items(), unit, strict=True)}
            spec = study().run_spec(overrides)
            losses = [m.metrics.get("validation/nll", math.inf) for m in train(spec, cache_dir=Path(cache))]
            losses += [math.inf] * (len(MILESTONES) - len(losses))
            writer.writerow([*overrides.values(), *(f"{loss:.4f}" for loss in losses)])
            file.flush()


def main() -> None:
    """Records the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=64)
    record(parser.parse_args().runs)


if __name__ == "__main__":
    main()
