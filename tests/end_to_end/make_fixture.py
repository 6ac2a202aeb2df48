"""Makes `fixtures/f566e11.tar.xz`: a state folder as an old commit left it, small enough to be committed.

    python -m tests.end_to_end.make_fixture [--commit f566e11]

The archive holds, under `state/`:

- `studies/ended`: a search of three trials that has ended; its best trial is promoted and is champion of `t5vqvae`;
- `studies/half_done`: a search of three trials whose machine died: one trial has ended, one has a checkpoint;
- `studies/ended_ablation`: an ablation that has ended;
- `mlflow.db`, `artifacts/`: what MLflow holds of them, the registered model among it;

and next to it `expected.json`: what the old commit's own code reads from its state, and how the half-done study ends
when nobody kills it. All paths in the archive lie under HOME. Left out: tokenized data, and HTML reports of 2 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.end_to_end.compare_commits import COMMIT, checkout
from tests.end_to_end.seeded_runs import database, environment, run, written

HOME = Path("/tmp/f566e11")
"""Where everything lies while it is made: MLflow writes this path into its database."""
STATE = HOME / "state"
ARCHIVE = Path(__file__).parent / "fixtures" / "f566e11.tar.xz"
TEXTS = ["x + y", r"\sin{(k )}", "J v", "Z^{R}", "e^{m}"]

BASE: dict[str, Any] = {
    "data.corpus.name": "math",
    "data.corpus.size": 2000,
    "data.corpus.num_further": 0,
    "data.corpus.validation_size": 100,
    "data.corpus.test_size": 50,
    "model.d_model": 24,
    "model.d_ff": 32,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "model.position": 0,
    "quantizer.codebook_size": 64,
    "optim.learning_rate": 0.015,
    "optim.warmup_steps": 5,
    "train.max_steps": 600,
    "train.eval_every": 200,
    "train.batch_size": 32,
    "train.device": "cpu",
    "evaluate.num_examples": 100,
    "evaluate.num_generated": 16,
}
SMALLER: dict[str, Any] = {
    **BASE,
    "model.d_model": 8,
    "model.d_ff": 8,
    "model.num_heads": 1,
    "train.max_steps": 120,
    "train.eval_every": 20,
}
RATE = {"optim.learning_rate": {"type": "float", "low": 2e-3, "high": 3e-2, "log": True}}
SEARCH: dict[str, Any] = {
    "question": "How fast should it learn?",
    "space": {**RATE, "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.999}},
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 6"],
    "budget": {"trials": 3, "concurrent": 1},
    "sampler": {"name": "random"},
    "retention": {"keep_best": 1, "keep_steps": 1},
}
ENDED = {**SEARCH, "name": "ended", "base": BASE, "scheduler": {"name": "asha", "grace_steps": 200}}
HALF_DONE = {**SEARCH, "name": "half_done", "base": SMALLER, "scheduler": {"name": "none"}}
ENDED_ABLATION = {
    "name": "ended_ablation",
    "question": "What does momentum give?",
    "base": {**SMALLER, "train.max_steps": 20},
    "arms": [{"name": "less", "overrides": {"optim.beta1": 0.5}}],
    "seeds": 3,
    "nuisance": RATE,
    "trials_per_arm": 2,
    "objective": {"metric": "validation/nll_per_char"},
    "alpha": 0.5,
    "budget": {"concurrent": 1},
    "retention": {"keep_best": 1, "keep_steps": 1},
}

RECONSTRUCT = """
import json, sys
from t5vqvae.model import load_model, reconstruct
print(json.dumps(reconstruct(load_model(sys.argv[1]).eval(), json.loads(sys.argv[2]))))
"""
PREDICT = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model("models:/t5vqvae@champion")
print(json.dumps(model.predict(pandas.DataFrame({"text": json.loads(sys.argv[1])})).to_dict("list")))
"""


def make(commit: str, archive: Path) -> None:
    """Makes the archive with a checkout of the old commit."""
    tree, twin = checkout(commit, HOME / "tree"), HOME / "twin"
    STATE.mkdir()
    twin.mkdir()
    run(tree, STATE, "tune/search.py", str(written(ENDED, STATE)))
    run(tree, STATE, "tune/ablate.py", str(written(ENDED_ABLATION, STATE)))
    promoted = run(tree, STATE, "-m", "tune.cli", "promote", ENDED["name"])
    kill_half_way(tree, written(HALF_DONE, STATE), STATE / "studies" / HALF_DONE["name"] / "trials")
    run(tree, twin, "tune/search.py", str(written(HALF_DONE, twin)))
    expected = HOME / "expected.json"
    expected.write_text(json.dumps(expectations(tree, promoted, twin), indent=1))
    tidy(STATE)
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as file:
        for path in (STATE, expected):
            file.add(path, path.name, filter=_anonymous)


def kill_half_way(tree: Path, study: Path, trials: Path) -> None:
    """Searches until a trial has ended and the next one has a checkpoint, then kills every process at once."""
    words = [sys.executable, "tune/search.py", str(study), "--state", str(STATE)]
    driver = subprocess.Popen(words, cwd=tree, env=environment(tree), stdout=subprocess.DEVNULL)
    while not ((trials / "00000" / "record.json").exists() and list((trials / "00001").glob("step-*"))):
        assert driver.poll() is None, "the search ended before it could be killed"
        time.sleep(0.005)
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
    assert not (trials / "00001" / "record.json").exists(), "the trial ended before it was killed"


def expectations(tree: Path, promoted: str, twin: Path) -> dict[str, Any]:
    """Returns what the old commit reads from its state, and the records of the study that nobody killed."""
    (checkpoint,) = (STATE / "studies" / ENDED["name"] / "trials").glob("*/step-*")
    reconstruction, codes = _answer(tree, RECONSTRUCT, str(checkpoint / "model"), json.dumps(TEXTS))
    return {
        "commit": _output(["git", "-C", str(tree), "rev-parse", "HEAD"]),
        "checkpoint": str(checkpoint.relative_to(STATE)),
        "texts": TEXTS,
        "loaded": {"reconstruction": reconstruction, "codes": codes},
        "predicted": _answer(None, PREDICT, json.dumps(TEXTS)),
        "promoted": promoted.splitlines(),
        "effects": (STATE / "studies" / ENDED_ABLATION["name"] / "report" / "effects.csv").read_text(),
        "twin": [json.loads(path.read_text()) for path in sorted(twin.glob("studies/*/trials/*/record.json"))],
    }


def _answer(tree: Path | None, code: str, *words: str) -> Any:
    """Returns what a fresh process prints as its last line; without a tree it must not need one."""
    variables = environment(tree) if tree else {**os.environ, "MLFLOW_TRACKING_URI": database(STATE)}
    return json.loads(_output([sys.executable, "-W", "ignore", "-c", code, *words], variables).splitlines()[-1])


def _output(words: list[str], variables: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(words, env=variables, cwd=STATE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tidy(state: Path) -> None:
    """Deletes what a later commit makes anew, and the names of this machine."""
    patterns = ("cache", "*.yaml", "studies/*/ray", "studies/*/report", "**/report.html", "**/__pycache__")
    for path in [path for pattern in patterns for path in state.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for file in [*state.glob("studies/*/trials/*/owner"), *state.glob("studies/*/lock")]:
        file.write_text(re.sub(r"^\S+ \d+ ", "machine 1 ", file.read_text()) if file.name == "owner" else "")
    for file in [state / "mlflow.db", *state.glob("studies/*/optuna.db")]:
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
        connection.close()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def main() -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make_fixture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default=COMMIT, help="the commit that makes it")
    options = parser.parse_args()
    try:
        HOME.mkdir()
    except FileExistsError:
        print(f"{HOME} exists; delete it first", file=sys.stderr)
        return 2
    try:
        make(options.commit, ARCHIVE)
    finally:
        shutil.rmtree(HOME)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
