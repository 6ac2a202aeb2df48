"""Two searches at once on what machines share: PostgreSQL behind MLflow and Optuna, an S3 store behind both's files.

One is killed and resumed; the other trains models, the best of which an empty state folder promotes by the address.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drive import killed_study
from machines import BUCKET, SECRET, object_store, tracking_server
from postgres import PASSWORD, Server, postgres
from searches import REAL, assert_all_agree
from survival import TRIALS, as_words, assert_survived, halfway, kill_family, start, wait_for

from t5vqvae.runs.tracked_run import TRAINER
from tune.cli import main
from tune.records.study_paths import StudyPaths
from tune.sampling.database import database_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ADDRESS = f"s3://{BUCKET}/studies"
CHANGED = {"base": {**REAL, "optim.learning_rate": 1e-3}, "budget": {"concurrent": 1}}


@dataclass
class Shared:
    """The servers, and the environment by which a machine reaches them."""

    database: Server
    optuna: str
    environment: dict[str, str]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    with (
        postgres() as database,
        object_store(tmp_path) as store,
        tracking_server(tmp_path, database.address("mlflow"), store) as url,
    ):
        environment = {**store, "MLFLOW_TRACKING_URI": url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Shared(database, database.address("optuna"), environment)


def objects() -> dict[str, bytes]:
    """Everything in the store, by its key."""
    import boto3

    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def test_two_studies_share_servers_one_is_killed_and_the_other_promoted_elsewhere(tmp_path, twin, shared, capsys):
    state, settings = tmp_path / "state", {"storage": shared.optuna, "retention": {"copy_to": ADDRESS}}
    state.mkdir()
    paths, real = StudyPaths(state, "night"), killed_study("real", 3, **settings, **CHANGED)
    words = as_words({**settings, **CHANGED, "trainer": TRAINER})
    night = ("night", str(TRIALS), as_words(settings))
    drivers = [start(state, *night, **shared.environment), start(state, "real", "3", words, **shared.environment)]
    try:
        wait_for(lambda: halfway(paths, TRIALS), drivers[0], "half way", seconds=400)
        assert drivers[1].poll() is None, "both run at once"
        kill_family(drivers[0].pid)
        drivers.append(start(state, *night, **shared.environment))
        assert [driver.wait(timeout=500) for driver in drivers[1:]] == [0, 0], (state / "driver.log").read_text()
    finally:
        for driver in drivers:
            if driver.poll() is None:
                kill_family(driver.pid)
    spec = killed_study("night", TRIALS, **settings)
    records = assert_survived(spec, state, twin, repeated=2)
    assert len(assert_all_agree(real, state)) == 3
    names = {name for (name,) in shared.database.rows("optuna", "SELECT study_name FROM studies")}
    assert names == {database_of(each, StudyPaths(state, each.name)).study for each in (spec, real)}
    assert not list(state.rglob("optuna*")), "Optuna keeps nothing in the state folder"

    kept = objects()
    for number, record in records.items():
        folder = f"studies/night/trials/{number:05d}"
        assert json.loads(kept[f"{folder}/record.json"])["metrics"] == record.metrics
        has = {key.split("/")[4] for key in kept if key.startswith(f"{folder}/step-")}
        assert has == ({Path(record.checkpoint).name} if record.checkpoint else set())
    assert any(key.startswith("mlflow/") for key in kept), "MLflow's artifacts are in the store"
    capsys.readouterr()
    promoted(tmp_path / "elsewhere", shared, capsys)
    no_secret(state, tmp_path / "elsewhere", shared, objects())


def promoted(elsewhere: Path, shared: Shared, capsys: Any) -> None:
    """Promotes and reports `real` from a state folder that has nothing, by the address."""
    assert main(["promote", "real", "--fetch", ADDRESS, "--state", str(elsewhere)]) == 0, capsys.readouterr()
    said = capsys.readouterr()
    assert "is version 1, alias champion" in said.out and not StudyPaths(elsewhere, "real").storage.exists()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"{shared.environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/search"
    found = json.load(direct.open(url, timeout=20))["registered_models"]
    assert [alias["alias"] for model in found for alias in model["aliases"]] == ["champion"]
    assert not main(["report", "real", "--fetch", ADDRESS, "--state", str(elsewhere)])
    assert any(key.startswith("studies/real/report/") and key.endswith(".html") for key in objects())


def no_secret(state: Path, elsewhere: Path, shared: Shared, kept: dict[str, bytes]) -> None:
    """Neither database, nor store, nor a file of a state folder or a driver's output has a password."""
    secrets = (PASSWORD.encode(), SECRET.encode())
    texts = {str(file): file.read_bytes() for file in [*state.rglob("*"), *elsewhere.rglob("*")] if file.is_file()}
    for name in ("optuna", "mlflow"):
        texts[name] = "\n".join(shared.database.texts(name)).encode()
        assert b"night" in texts[name]
    assert not [place for place, text in {**texts, **kept}.items() if any(secret in text for secret in secrets)]
