"""Copies of a study in an S3 store (moto's server, by s3fs): the laws of a folder, and refusals in one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from machines import BUCKET, SECRET, object_store
from searches import stub_study

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from t5vqvae.files import write_json
from tune.records.copies import StudyCopies
from tune.records.fetching import fetch, fetch_checkpoint
from tune.records.record import TrialRecord, read_records
from tune.records.remote_folder import RemoteFolder
from tune.records.study_paths import StudyPaths

pytestmark = pytest.mark.slow  # they share a server, whose start takes seconds


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with object_store(tmp_path_factory.mktemp("store")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/{request.node.name}"


def begun(state: Path, address: str, identity: str = "a") -> StudyCopies:
    """A study with two ended trials and a checkpoint each, and its copies."""
    paths = StudyPaths(state, "s")
    spec = stub_study("s", 2, retention={"copy_to": address})
    spec.write(paths.spec)
    write_json(
        paths.root / "identity.json", {"id": identity * 32, "adopts": False, "copied_from": None, "folder": "/x"}
    )
    for number in range(2):
        checkpoint = paths.trial(number) / "step-00000002"
        (checkpoint / "model").mkdir(parents=True)
        (checkpoint / "model" / "weights").write_bytes(bytes([number]) * 70_000)
        metrics = {"validation/nll": 1.0 + number}
        record = TrialRecord("s", number, {}, f"run{number}", None, "completed", 2, metrics, str(checkpoint))
        record.write(paths.trial(number))
    copies = StudyCopies.of(spec, paths)
    assert copies is not None
    return copies


def test_what_ended_is_there_and_another_machine_fetches_records_then_a_checkpoint(address, tmp_path) -> None:
    copies = begun(tmp_path / "here", address)
    copies.check()
    copies.put(0)
    copies.finish([0, 1])
    names = RemoteFolder(address, "--fetch").names()
    assert "s/.probe" not in names and {"s/study.json", "s/trials/00001/step-00000002/model/weights"} < set(names)
    new = StudyPaths(tmp_path / "new", "s")
    fetched = fetch(new, address)
    assert [record.metrics for record in read_records(new.trials)] == [{"validation/nll": 1.0}, {"validation/nll": 2.0}]
    assert not list(new.root.rglob("step-*"))
    fetch_checkpoint(fetched, TrialRecord.read(new.trial(1)))
    assert (new.trial(1) / "step-00000002/model/weights").read_bytes() == b"\1" * 70_000


def test_a_checkpoint_that_retention_dropped_goes_there_too(address, tmp_path) -> None:
    copies = begun(tmp_path, address)
    copies.finish([0, 1])
    record = TrialRecord.read(copies.paths.trial(0))
    shutil.rmtree(str(record.checkpoint))
    replace(record, checkpoint=None).write(copies.paths.trial(0))
    copies.finish([0, 1])
    names = RemoteFolder(address, "--fetch").names("s/trials/00000")
    assert names == ["s/trials/00000/record.json"]


def test_another_study_of_the_name_is_never_mixed_in(address, tmp_path) -> None:
    copies = begun(tmp_path / "here", address)
    copies.finish([0, 1])
    copies.check()
    with pytest.raises(SettingError, match="holds a study of this name from another state folder"):
        begun(tmp_path / "there", address, identity="b").check()


def test_a_bucket_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        begun(tmp_path, "s3://nosuch/studies").check()
    said = str(caught.value)
    assert said.startswith("retention.copy_to=s3://nosuch/studies/s cannot be ") and "\n" not in said


def test_a_store_that_is_away_is_one_line_without_its_secret(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(UserError) as caught:
            begun(tmp_path, f"s3://{BUCKET}/away").check()
    finally:
        S3FileSystem.clear_instance_cache()
    assert "\n" not in str(caught.value) and SECRET not in str(caught.value) and "127.0.0.1:9" in str(caught.value)
