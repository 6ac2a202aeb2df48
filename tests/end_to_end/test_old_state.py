"""What an old commit left on the disk, the present code reads: studies, checkpoints, MLflow, the registered model.

`fixtures/f566e11.tar.xz` holds the state folder; `make_fixture.py` says what is in it and makes it anew.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.files import read_json
from tests.end_to_end.compare_commits import ROOT
from tests.end_to_end.make_fixture import ARCHIVE, ENDED, ENDED_ABLATION, HALF_DONE, PREDICT, STATE
from tests.end_to_end.seeded_runs import database, run, written
from tests.end_to_end.stored_values import MEASURED, MISSING, relative_difference

SAME = 1e-3
"""Relative; what another processor's rounding may change of a metric."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The old state folder, at a place of its own."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    relocate(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def expected(state: Path) -> dict[str, Any]:
    """What the old commit read from it."""
    return json.loads((state.parent / "expected.json").read_text())


def relocate(state: Path) -> None:
    """Writes the new place of a state folder into MLflow's database, which holds absolute paths."""
    with sqlite3.connect(state / "mlflow.db") as connection:
        for table, column in list(_text_columns(connection)):
            change = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
            connection.execute(change, (str(STATE), str(state), str(STATE)))
    connection.close()


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if kind.startswith(("VARCHAR", "TEXT")):
                yield table, column


def records_of(state: Path, study: str) -> list[dict[str, Any]]:
    return [read_json(path) for path in sorted(state.glob(f"studies/{study}/trials/*/record.json"))]


def test_the_trials_of_an_ended_study_are_listed(state: Path) -> None:
    shown = run(ROOT, state, "-m", "tune.cli", "trials", ENDED["name"], COLUMNS="200")
    rows = [line.replace("*", " ").split() for line in shown.replace("│", " ").splitlines()]
    listed = {row[0]: row[1] for row in rows if row and row[0].isdigit()}
    assert listed == {str(record["number"]): record["status"] for record in records_of(state, ENDED["name"])}
    assert set(listed.values()) == {"completed", "pruned"}


def test_an_old_checkpoint_loads_and_reconstructs_as_before(state: Path, expected: dict[str, Any]) -> None:
    from t5vqvae.models.contract import load_model, reconstruct
    from t5vqvae.training import checkpoint

    folder = state / expected["checkpoint"]
    checkpoint.verify(folder)
    assert checkpoint.read_milestone(folder)["status"] == "completed"
    reconstruction, codes = reconstruct(load_model(folder / "model").eval(), expected["texts"])
    assert {"reconstruction": reconstruction, "codes": codes} == expected["loaded"]


def test_the_registered_model_loads_with_its_own_source_in_a_fresh_process(
    state: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    variables = {**os.environ, "MLFLOW_TRACKING_URI": database(state)}
    code = f"{PREDICT}\nimport t5vqvae; print(t5vqvae.__file__)"
    words = [sys.executable, "-W", "ignore", "-c", code, json.dumps(expected["texts"])]
    done = subprocess.run(words, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *_, answer, source = done.stdout.splitlines()
    assert json.loads(answer) == expected["predicted"]
    assert Path(source).is_relative_to(state / "artifacts")


def test_the_registered_model_s_own_folder_loads_by_today_s_code(state: Path, expected: dict[str, Any]) -> None:
    """Today's MLflow model answers an old one's folder as the old one did, without a parameter."""
    import pandas as pd

    from t5vqvae.models.contract import load_model
    from t5vqvae.tracking.pyfunc import _PyfuncModel

    (folder,) = state.glob("artifacts/**/artifacts/model")
    model = _PyfuncModel()
    model.model = load_model(folder).eval()
    frame = pd.DataFrame({"text": expected["texts"]})
    assert model.predict(None, frame).to_dict("list") == expected["predicted"]
    encoded = model.predict(None, frame, {"operation": "encode"})
    assert encoded["codes"].tolist() == expected["predicted"]["codes"]


def test_an_old_study_is_promoted_again(state: Path, expected: dict[str, Any]) -> None:
    """The old test metrics count; evaluated anew they are the same, and the trial can be registered anew."""
    shown = run(ROOT, state, "-m", "tune.cli", "promote", ENDED["name"])
    *tests, head, _, _ = expected["promoted"]
    number = next(line.split(" = ")[1] for line in tests if "test/exact_match" in line)
    assert f"exact_match = {number}" in shown, shown
    assert head.split()[1] in shown and "version 1 holds the alias already" in shown
    (file,) = state.glob("studies/ended/trials/*/test.json")
    old = json.loads(file.read_text())
    file.unlink()
    assert "alias champion" in run(ROOT, state, "-m", "tune.cli", "promote", ENDED["name"], "--name", "second")
    new = json.loads(file.read_text())
    assert (new["identity"], new["data_fingerprint"]) == (old["identity"], old["data_fingerprint"])
    assert _apart(new, old) == []


def test_an_old_search_is_reported(state: Path) -> None:
    run(ROOT, state, "-m", "tune.cli", "report", ENDED["name"])
    with (state / "studies" / "ended" / "report" / "trials.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    records = records_of(state, ENDED["name"])
    assert [row["status"] for row in rows] == [record["status"] for record in records]
    assert [float(row["validation/nll"]) for row in rows] == [record["metrics"]["validation/nll"] for record in records]


def test_an_old_ablation_is_reported_with_the_same_effects(state: Path, expected: dict[str, Any]) -> None:
    run(ROOT, state, "-m", "tune.cli", "report", ENDED_ABLATION["name"])
    shown = (state / "studies" / "ended_ablation" / "report" / "effects.csv").read_text()
    found, known = (list(csv.DictReader(io.StringIO(text))) for text in (shown, expected["effects"]))
    assert len(found) == len(known) == 1
    wanted = _without_rounding(known[0])
    assert {name: found[0].get(name) for name in wanted} == wanted


def _without_rounding(row: dict[str, str]) -> dict[str, str]:
    """Returns an old row as versions print it that count differences of rounding as none: without spread, no size."""
    tiny = [
        name.removesuffix(":sd") for name, value in row.items() if name.endswith(":sd") and 0 < float(value) < 1e-12
    ]
    zero = {f"{metric}:{part}": "0.0" for metric in tiny for part in ("mean", "low", "high", "sd")}
    empty = {f"{metric}:{size}": "" for metric in tiny for size in ("d_z", "g_z")}
    return row | {name: value for name, value in (zero | empty).items() if name in row}


@pytest.mark.ray
@pytest.mark.slow
def test_a_half_done_study_resumes_with_the_same_command(state: Path, expected: dict[str, Any]) -> None:
    """Neither a study nor a checkpoint refuses another source: run ids change, and numbers stay those of a twin."""
    trials = state / "studies" / "half_done" / "trials"
    assert [path.parent.name for path in trials.glob("*/record.json")] == ["00000"]
    assert [path.name for path in trials.glob("00001/step-*")] == ["step-00000020"]
    (ended,) = records_of(state, HALF_DONE["name"])
    run(ROOT, state, "tune/search.py", str(written(HALF_DONE, state)))
    found, twin = records_of(state, HALF_DONE["name"]), expected["twin"]
    assert found[0] == {**ended, "checkpoint": None, "history": {}}, (
        "what has ended only gives its checkpoint up to a better trial"
    )
    assert [_outcome(record) for record in found] == [_outcome(record) for record in twin]
    pairs = list(zip(found, twin, strict=True))
    assert [mine["run_id"] == theirs["run_id"] for mine, theirs in pairs] == [True, False, False]
    assert [line for mine, theirs in pairs for line in _apart(mine, theirs)] == []
    assert _steps_in_mlflow(state, "half_done/00001") == list(range(20, 140, 20)), "each milestone once"
    assert _unfinished_runs(state) == []


def _apart(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Returns the metrics of two records that differ, without the norm of the gradient, which magnifies rounding."""
    names = [name for name in theirs["metrics"] if not name.startswith((*MEASURED, "train/grad_norm"))]
    pairs = {name: (mine["metrics"].get(name, MISSING), theirs["metrics"][name]) for name in names}
    return [f"{name}: {pair}" for name, pair in pairs.items() if relative_difference(*pair) > SAME]


def _outcome(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["number"], record["status"], record["steps"], record["overrides"], record["checkpoint"]


def _steps_in_mlflow(state: Path, name: str) -> list[int]:
    """Returns the steps of a trial's milestones; each must be there once."""
    query = """SELECT step FROM metrics JOIN runs USING (run_uuid)
               WHERE runs.name = ? AND key = 'validation/nll' ORDER BY step"""
    return [step for (step,) in _rows(state, query, name)]


def _unfinished_runs(state: Path) -> list[str]:
    return [name for (name,) in _rows(state, "SELECT name FROM runs WHERE status = 'RUNNING'")]


def _rows(state: Path, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(state / "mlflow.db")
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()
