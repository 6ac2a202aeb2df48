"""Seeded runs of one tree: three trainings, a search, an ablation, all small.

Nothing of the tree is imported: every command is a process of its own, with PYTHONPATH set to the tree and its own
state folder. `stored_values.py` reads what they leave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUANTIZERS = ("ema", "vq", "gumbel")
SEARCH, ABLATION = "seeded_search", "seeded_ablation"

BASE = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 600,
    "data.corpus.validation_size": 64,
    "data.corpus.test_size": 20,
    "model.d_model": 32,
    "model.d_ff": 64,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "quantizer.codebook_size": 64,
    "optim.learning_rate": 0.01,
    "optim.warmup_steps": 5,
    "train.batch_size": 16,
    "train.device": "cpu",
    "evaluate.num_examples": 64,
    "evaluate.num_generated": 8,
}
"""The smallest model whose codes are used after a few steps."""

TRAINING = {**BASE, "train.max_steps": 60, "train.eval_every": 20}

SEARCH_STUDY = {
    "name": SEARCH,
    "question": "Which codebook is best?",
    "base": {**BASE, "quantizer.name": "ema", "train.max_steps": 30, "train.eval_every": 10},
    "space": {
        "quantizer.name": {"type": "choice", "choices": ["ema", "vq"]},
        "quantizer.codebook_size": {"type": "int", "low": 16, "high": 128, "log": True},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.999, "when": {"quantizer.name": "ema"}},
        "optim.learning_rate": {"type": "float", "low": 1e-3, "high": 3e-2, "log": True},
    },
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 8"],
    "budget": {"trials": 6, "concurrent": 1},
    "sampler": {"name": "tpe", "num_startup": 3},
    "scheduler": {"name": "asha", "grace_steps": 10, "reduction_factor": 2},
}
"""Some trials complete, some are pruned, and TPE chooses the last three."""

ABLATION_STUDY = {
    "name": ABLATION,
    "question": "Does a relaxed assignment learn faster?",
    "base": {**BASE, "quantizer.name": "ema", "train.max_steps": 20, "train.eval_every": 20},
    "arms": [
        {"name": "gumbel", "overrides": {"quantizer.name": "gumbel"}},
        {"name": "renamed", "overrides": {"quantizer.decay": 0.99}},
    ],
    "seeds": 4,
    "nuisance": {"optim.learning_rate": {"type": "float", "low": 2e-3, "high": 3e-2, "log": True}},
    "trials_per_arm": 2,
    "objective": {"metric": "validation/nll_per_char"},
    "margin": 0.05,
    "alpha": 0.5,  # four pairs and two tests cannot show less
    "beside": ["validation/token_accuracy"],
    "budget": {"concurrent": 1},
}
"""One arm has an effect; the other one is the baseline under another name, and reuses its runs."""


def environment(tree: Path) -> dict[str, str]:
    """Returns the environment of a command of a tree that starts its own Ray and knows no MLflow server."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "T5VQVAE_"))}
    ours = {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled"}
    return {**known, **ours}


def run(tree: Path, state: Path, *words: str, **variables: str) -> str:
    """Runs `python WORDS --state STATE` in a tree and returns its standard output.

    Raises:
        RuntimeError: If it fails, with the end of what it printed.
    """
    done = subprocess.run(
        [sys.executable, *words, "--state", str(state)],
        cwd=tree,
        env={**environment(tree), **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:4])} in {tree} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def train(tree: Path, state: Path, quantizer: str) -> None:
    """Trains 60 steps; MLflow keeps the milestone whose checkpoint is deleted."""
    words = [f"{path}={value}" for path, value in {**TRAINING, "quantizer.name": quantizer}.items()]
    into = str(state / "runs" / quantizer)
    run(tree, state, "-m", "tune.cli", "train", *words, "--into", into, MLFLOW_TRACKING_URI=database(state))


def search(tree: Path, state: Path) -> None:
    """Searches six trials and writes the report."""
    run(tree, state, "tune/search.py", str(written(SEARCH_STUDY, state)))
    run(tree, state, "-m", "tune.cli", "report", SEARCH)


def ablate(tree: Path, state: Path) -> None:
    """Runs the ablation, which writes its report at its end; tuned once for all seeds, as every tree can."""
    shared = ["tuning=shared"] if (tree / "tune" / "ablation" / "ablation_sections.py").exists() else []
    run(tree, state, "tune/ablate.py", str(written(ABLATION_STUDY, state)), *shared)


def database(state: Path) -> str:
    """Returns the address of MLflow's database in a state folder."""
    return f"sqlite:///{state}/mlflow.db"


def written(study: Mapping[str, Any], state: Path) -> Path:
    """Returns the file that a study is written to, in its state folder."""
    path = state / f"{study['name']}.yaml"
    path.write_text(json.dumps(study))  # JSON is YAML
    return path
