"""Whatever becomes of a file of a study, it ends with the right result, or says one line: never with another winner."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drive import killed_study
from places import ROOT
from searches import STUB

from t5vqvae.errors import UserError
from t5vqvae.runs.follow import Report, follow
from t5vqvae.runs.tracked_run import TrackedRun
from tune.records.ranking import best
from tune.records.record import TrialRecord, intact_records, read_records
from tune.records.study_paths import StudyPaths, trial_key
from tune.sampling.resume import resumed
from tune.search import _kept
from tune.spec.search_spec import SearchSpec

TRIALS, LEFT = 6, 2
"""Trials in all, and how many of them are left when the damage is done."""
NUM_DAMAGES = 60


def search_here(spec: SearchSpec, state: Path, most: int = TRIALS) -> dict[int, TrialRecord]:
    """Searches as `tune.search` does, one trial after the other in this process, without Ray and MLflow."""
    paths = StudyPaths(state, spec.name)
    with paths.locked():
        records = intact_records(paths.trials)
        kept = _kept(spec, paths, records)
        kept.write(paths.spec, spec)
        suggestions = resumed(spec, paths, records, kept.evidence)
        while len(records) < most and (trial := suggestions.next()) is not None:
            run = spec.run_spec(trial.overrides)
            folder, key = paths.trial(trial.number), trial_key(spec.name, trial.number)
            history: dict[str, Any] = {}
            last: Report | None = None
            for last in follow(TrackedRun(run, folder, paths.cache, key, trainer=STUB)):
                suggestions.report(trial.number, last.metrics)
                history[str(int(last.metrics["progress/step"]))] = dict(last.metrics)
            assert last is not None
            known = (spec.name, trial.number, trial.overrides, last.run_id, None, last.status, 40, last.metrics)
            record = TrialRecord(*known, checkpoint=last.checkpoint, history=history)  # type: ignore[arg-type]
            record.write(folder)
            suggestions.end(trial.number, last.status, last.metrics)
            records[trial.number] = record
    return records


def outcome(records: dict[int, TrialRecord], spec: SearchSpec) -> tuple[Any, dict[int, Any]]:
    winner = best(records.values(), spec)
    return winner and winner.number, {n: (r.status, r.overrides, r.metrics) for n, r in sorted(records.items())}


def cut(file: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content) + 1)])


def flip(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(bytes(content))


def delete(file: Path, rng: random.Random) -> None:
    file.unlink()


def replace(file: Path, rng: random.Random) -> None:
    """Puts another trial's file of the same name in its place; where there is none, noise."""
    others = [other for other in file.parents[1].rglob(file.name) if other != file and other.is_file()]
    file.write_bytes(rng.choice(others).read_bytes() if others and rng.random() < 0.7 else rng.randbytes(200))


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (cut, flip, delete, replace)


@pytest.fixture(scope="module")
def study() -> SearchSpec:
    return killed_study("night", TRIALS, base={"optim.warmup_steps": 0})


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, study: SearchSpec) -> Path:
    """A study of which four trials have ended."""
    state = tmp_path_factory.mktemp("begun")
    assert len(search_here(study, state, TRIALS - LEFT)) == TRIALS - LEFT
    return state


@pytest.fixture(scope="module")
def right(begun: Path, study: SearchSpec, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outcome without any damage."""
    state = tmp_path_factory.mktemp("right") / "state"
    shutil.copytree(begun, state)
    return outcome(search_here(study, state), study)


@pytest.mark.parametrize("seed", range(NUM_DAMAGES))
def test_a_damaged_file_costs_at_most_one_line(
    begun: Path, right: Any, study: SearchSpec, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, state = random.Random(seed), tmp_path / "state"
    shutil.copytree(begun, state)
    root = StudyPaths(state, study.name).root
    file = rng.choice([file for file in sorted(root.rglob("*")) if file.is_file() and file.name != "lock"])
    damage = rng.choice(DAMAGES)
    damage(file, rng)
    where = f"{damage.__name__} {file.relative_to(root)}"
    try:
        found = search_here(study, state)
    except UserError as error:
        assert "\n" not in str(error) and str(root) in str(error), where
        return
    assert outcome(found, study) == right, where
    said = capsys.readouterr().err.splitlines()
    assert len(said) <= TRIALS, f"{where}: {said}"
    again = {record.number: record for record in read_records(StudyPaths(state, study.name).trials)}
    assert outcome(again, study) == right, where


@pytest.mark.parametrize("number", range(TRIALS - LEFT))
def test_a_record_that_was_damaged_and_then_deleted_costs_no_trial(
    begun: Path, right: Any, study: SearchSpec, tmp_path: Path, number: int
) -> None:
    state = tmp_path / "state"
    shutil.copytree(begun, state)
    search_here(study, state)
    record = StudyPaths(state, study.name).trial(number) / "record.json"
    record.write_text(record.read_text()[:50])
    record.unlink()
    assert outcome(search_here(study, state), study) == right


SMALL = """
name: small
base: {data.corpus.name: grammar, data.corpus.size: 200, data.corpus.validation_size: 20, data.corpus.test_size: 20,
  data.tokenizer.vocab_size: 300, model.d_model: 16, model.num_heads: 2, quantizer.codebook_size: 16,
  train.max_steps: 6, train.eval_every: 3, train.batch_size: 8, evaluate.num_generated: 4, evaluate.num_examples: 20}
space: {quantizer.decay: {type: float, low: 0.8, high: 0.99}}
objectives: [{metric: validation/nll}]
scheduler: {name: none}
budget: {trials: 2, concurrent: 1}
"""
REAL = {
    "cut study.json": (cut, "studies/small/study.json"),
    "no study.json": (delete, "studies/small/study.json"),
    "flipped optuna.journal": (flip, "studies/small/optuna.journal"),
    "noise for a record": (replace, "studies/small/trials/00001/record.json"),
    "no record": (delete, "studies/small/trials/00000/record.json"),
    "flipped weights": (flip, "studies/small/trials/0000*/step-*/model/model.safetensors"),
    "cut cache": (cut, "cache/**/source_ids.npy"),
    "no mlflow.db": (delete, "mlflow.db"),
}


def command(state: Path, *words: str) -> tuple[int, str, str]:
    """Runs a command as a user does, without a cluster or a server; returns its status, its output and its errors."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tune.cli", *words, "--state", str(state)],
        env={**known, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[int, Any]]:
    """The file and the state of a search that has ended, and its trials."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "small.yaml").write_text(SMALL)
    status, _, errors = command(folder / "state", "search", str(folder / "small.yaml"))
    assert status == 0, errors
    return folder / "small.yaml", folder / "state", results(folder / "state")


def results(state: Path) -> dict[int, Any]:
    records = read_records(StudyPaths(state, "small").trials)
    return {r.number: (r.status, r.overrides, r.metrics["validation/nll"]) for r in records}


@pytest.mark.slow
@pytest.mark.parametrize("case", REAL)
def test_a_damaged_file_never_ends_in_a_traceback_or_with_less_than_was_asked(
    case: str, ended: tuple[Path, Path, dict[int, Any]], tmp_path: Path
) -> None:
    study, before, wanted = ended
    state = tmp_path / "state"
    shutil.copytree(before, state, symlinks=True)
    damage, pattern = REAL[case]
    files = sorted(state.glob(pattern))
    assert files
    for file in files:
        damage(file, random.Random(7))
    for words in (("search", str(study)), ("promote", "small")):
        status, out, errors = command(state, *words)
        assert "Traceback" not in out + errors and status in (0, 1, 2), (case, words, errors)
        if status == 0:
            assert results(state) == wanted, (case, words, errors)
        elif words[0] == "search":
            assert errors.strip().splitlines()[-1].count("small"), (case, errors)
