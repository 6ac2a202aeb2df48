"""Copies of a study at an address: whole, once, and fetched again where nothing of it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from searches import stub_study

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from t5vqvae.files import write_json
from tune.records.copies import StudyCopies
from tune.records.events import START, StudyEvents
from tune.records.fetching import fetch, fetch_checkpoint
from tune.records.record import TrialRecord, read_records
from tune.records.remote_folder import RemoteFolder
from tune.records.study_paths import StudyPaths


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    paths = StudyPaths(tmp_path / "here", "s")
    stub_study("s", 2).write(paths.spec)
    write_json(paths.root / "identity.json", {"id": "a" * 32, "adopts": False, "copied_from": None, "folder": "/gone"})
    return paths


@pytest.fixture
def copies(paths: StudyPaths, tmp_path: Path) -> StudyCopies:
    spec = stub_study("s", 2, retention={"copy_to": str(tmp_path / "there")})
    copies = StudyCopies.of(spec, paths)
    assert copies is not None
    return copies


def ended(paths: StudyPaths, number: int, weights: str = "w") -> TrialRecord:
    """Adds an ended trial with a checkpoint of two files."""
    checkpoint = paths.trial(number) / "step-00000002"
    (checkpoint / "model").mkdir(parents=True)
    (checkpoint / "model" / "weights").write_text(weights)
    (checkpoint / "spec.json").write_text("{}")
    metrics = {"validation/nll": 1.0 + number, "rate/bits_per_token": 2.0}
    record = TrialRecord("s", number, {}, f"run{number}", None, "completed", 2, metrics, str(checkpoint))
    record.write(paths.trial(number))
    return record


def there(tmp_path: Path) -> set[str]:
    root = tmp_path / "there" / "s"
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}


TRIAL = {f"trials/00000/{name}" for name in ("record.json", "step-00000002/model/weights", "step-00000002/spec.json")}


def test_an_ended_trial_is_copied_with_its_checkpoint_and_the_study_s_own_files(copies, paths, tmp_path) -> None:
    ended(paths, 0)
    (paths.trial(0) / "spool").mkdir()
    (paths.trial(0) / "spool" / "entry").write_text("x")
    paths.storage.write_text("a database")
    copies.check()
    copies.put(0)
    copies.finish([0])
    assert there(tmp_path) == TRIAL | {"study.json", "identity.json"}


def test_a_checkpoint_that_retention_dropped_goes_there_too(copies, paths, tmp_path) -> None:
    record = ended(paths, 0)
    copies.finish([0])
    shutil.rmtree(str(record.checkpoint))
    replace(record, checkpoint=None).write(paths.trial(0))
    copies.put(0)
    copies.finish([0])
    assert there(tmp_path) == {"trials/00000/record.json", "study.json", "identity.json"}
    assert json.loads((tmp_path / "there/s/trials/00000/record.json").read_text())["checkpoint"] is None


def test_what_a_kill_left_there_goes_with_the_checkpoint_that_retention_dropped(
    copies, paths, tmp_path, monkeypatch
) -> None:
    """A driver that dies after the upload and before its note knows at its next start what may be there."""
    record = ended(paths, 0)
    put = copies.folder.put

    def killed(files: dict[str, Path]) -> None:
        put(files)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copies.folder, "put", killed)
        copies.finish([0])
    assert there(tmp_path) >= TRIAL
    shutil.rmtree(str(record.checkpoint))
    replace(record, checkpoint=None).write(paths.trial(0))
    copies.finish([0])
    assert {name for name in there(tmp_path) if name.startswith("trials/")} == {"trials/00000/record.json"}


def test_a_trial_whose_checkpoint_vanishes_meanwhile_has_no_record_there(copies, paths, tmp_path, monkeypatch) -> None:
    record = ended(paths, 0)
    listed = [Path(str(record.checkpoint)) / "gone", paths.trial(0) / "record.json"]
    monkeypatch.setattr("tune.records.copies._files_of_trial", lambda folder: listed)
    monkeypatch.setattr("tune.records.copies._stamp", lambda file: (1, 1))
    copies._try(0)
    assert there(tmp_path) == set()


def test_what_is_there_is_not_written_again(copies, paths, tmp_path) -> None:
    ended(paths, 0)
    copies.finish([0])
    copied = {name: (tmp_path / "there/s" / name).stat().st_mtime_ns for name in there(tmp_path)}
    StudyCopies(paths, copies.folder).finish([0])
    assert {name: (tmp_path / "there/s" / name).stat().st_mtime_ns for name in copied} == copied


def test_an_address_that_is_away_costs_nothing_and_gets_all_later(copies, paths, tmp_path, capsys) -> None:
    (tmp_path / "there").write_text("a file in the way")
    ended(paths, 0)
    ended(paths, 1)
    copies.put(0)
    copies.put(1)
    copies.finish([0, 1])
    [first, last] = capsys.readouterr().out.splitlines()
    assert first.startswith(f"retention.copy_to={tmp_path}/there/s cannot be written: ")
    assert last.endswith("2 of 2 trials are not verified there")
    (tmp_path / "there").unlink()
    copies.finish([0, 1])
    assert TRIAL | {"trials/00001/record.json", "study.json"} < there(tmp_path)


def test_another_study_of_the_name_is_never_mixed_in(copies, paths, tmp_path) -> None:
    copies.check()
    copies.finish([])
    other = StudyPaths(tmp_path / "elsewhere", "s")
    with pytest.raises(SettingError, match=r"holds a study of this name from another state folder; give .*name=") as e:
        StudyCopies(other, copies.folder).check()
    assert "\n" not in str(e.value)
    copies.check()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nosuch://bucket", "Protocol not known: nosuch; give a folder, s3://BUCKET"),
        ("gs://bucket", "gcsfs"),
        ("/proc/x", "cannot be written: "),
        ("http://user:secret@127.0.0.1:9/x", "cannot be "),
    ],
)
def test_an_address_that_cannot_work_is_refused_in_one_line(address: str, words: str, paths: StudyPaths) -> None:
    spec = stub_study("s", 2, retention={"copy_to": address})
    copies = StudyCopies.of(spec, paths)
    assert copies is not None
    with pytest.raises(UserError, match=words) as caught:
        copies.check()
    assert str(caught.value).startswith("retention.copy_to=")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_relative_folder_means_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert stub_study("s", 1, retention={"copy_to": "x"}).retention.copy_to == str(tmp_path / "x")
    assert stub_study("s", 1, retention={"copy_to": "s3://b/x"}).retention.copy_to == "s3://b/x"


def test_a_fetched_study_has_the_same_records_and_its_checkpoint_when_needed(copies, paths, tmp_path) -> None:
    records = [ended(paths, 0, "zero"), ended(paths, 1, "one")]
    copies.finish([0, 1])
    new = StudyPaths(tmp_path / "new", "s")
    fetched = fetch(new, str(tmp_path / "there"))
    assert [record.metrics for record in read_records(new.trials)] == [record.metrics for record in records]
    assert not list(new.root.rglob("step-*"))
    fetch_checkpoint(fetched, TrialRecord.read(new.trial(1)))
    assert (new.trial(1) / "step-00000002/model/weights").read_text() == "one"
    assert not list(new.trial(0).glob("step-*"))

    ended(paths, 2)
    copies.finish([0, 1, 2])
    fetch(new, str(tmp_path / "there"))
    assert len(read_records(new.trials)) == 3, "a second fetch brings what ended meanwhile"


def test_a_study_of_this_state_folder_is_not_overwritten(copies, paths, tmp_path) -> None:
    copies.finish([])
    with pytest.raises(SettingError, match="the state folder has a study s of its own"):
        fetch(paths, str(tmp_path / "there"))


def test_a_fetched_study_that_was_searched_here_is_not_overwritten(copies, paths, tmp_path) -> None:
    copies.finish([])
    new = StudyPaths(tmp_path / "new", "s")
    fetch(new, str(tmp_path / "there"))
    StudyEvents(new.root).append(START)
    with pytest.raises(SettingError, match="the state folder has a study s of its own"):
        fetch(new, str(tmp_path / "there"))


def test_a_misspelt_study_is_named(copies, tmp_path) -> None:
    copies.finish([])
    with pytest.raises(SettingError, match=r"there is no study sss; (did you mean|known:) s"):
        fetch(StudyPaths(tmp_path / "new", "sss"), str(tmp_path / "there"))
    assert not (tmp_path / "new").exists()


def test_a_name_that_leaves_its_folder_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["study.json", "../../evil", "/etc/evil"]
    monkeypatch.setattr(RemoteFolder, "names", lambda self, below="": names)
    got: dict[str, Path] = {}
    monkeypatch.setattr(RemoteFolder, "get", lambda self, files: got.update(files))
    with pytest.raises(FileNotFoundError):
        fetch(StudyPaths(tmp_path, "s"), str(tmp_path / "there"))
    assert set(got) == {"study.json"}


def test_a_read_of_an_address_that_is_away_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((EnvironmentFault, SettingError)) as caught:
        fetch(StudyPaths(tmp_path / "new", "s"), str(tmp_path / "file"))
    assert "\n" not in str(caught.value)
