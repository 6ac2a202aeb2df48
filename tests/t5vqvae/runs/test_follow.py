"""A run is followed to its end: resumed after a kill, owned by one process, and reported once per milestone."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from t5vqvae.disk import MARGIN
from t5vqvae.errors import CheckpointError, DiskError, SettingError, UserError
from t5vqvae.runs.follow import Report, failure, follow
from t5vqvae.runs.ownership import FolderOwner
from t5vqvae.runs.tracked_run import TrackedRun, load_trainer
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import checkpoint

STUB = "stub:train"


class Journal:
    """A tracker and logger that record their calls."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def open_logger(self, *args):
        self.calls.append(("open", *args[:2]))
        return self

    def wait_opened(self, timeout):
        return "m0"

    def log(self, metrics, step, tokens=None):
        self.calls.append(("log", step, tokens))

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name,))

    def steps(self) -> list[int]:
        return [call[1] for call in self.calls if call[0] == "log"]


def run_in(tmp_path, tracker=None, **overrides) -> TrackedRun:
    settings = {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0}
    spec = RunSpec().with_overrides({**settings, **{key.replace("__", "."): v for key, v in overrides.items()}})
    return TrackedRun(spec, tmp_path / "run", tmp_path / "cache", "s/00000", tracker, "p", trainer=STUB)


def steps(reports) -> list[int]:
    return [int(report.metrics["progress/step"]) for report in reports]


def trained(tmp_path) -> list[int]:
    return [int(line.split()[1]) for line in (tmp_path / "starts.log").read_text().splitlines()]


def test_the_last_report_has_the_final_status(tmp_path):
    tracker = Journal()
    reports = list(follow(run_in(tmp_path, tracker)))
    assert steps(reports) == [10, 20, 30, 40]
    assert [report.status for report in reports] == ["running"] * 3 + ["completed"]
    assert reports[-1].mlflow_id == "m0" and reports[-1].run_id == "0" * 16
    assert tracker.steps() == [10, 20, 30, 40] and tracker.calls[-1] == ("close",)
    assert reports[-1].checkpoint == str(tmp_path / "run" / "step-00000040")


def test_a_flat_report_holds_metrics_and_known_fields():
    report = Report("running", {"validation/nll": 1.0}, {"a": "b"}, checkpoint="c", seconds=0.0)
    assert report.flat() == {
        "validation/nll": 1.0, "status": "running", "tags": {"a": "b"}, "checkpoint": "c", "seconds": 0.0,
    }  # fmt: skip


def test_the_two_newest_checkpoints_are_kept(tmp_path):
    list(follow(run_in(tmp_path)))
    assert sorted(path.name for path in (tmp_path / "run").glob("step-*")) == ["step-00000030", "step-00000040"]


def test_a_killed_run_resumes_and_first_repeats_its_checkpoint(tmp_path):
    first = follow(run_in(tmp_path))
    next(first), next(first)
    first.close()
    tracker = Journal()
    assert steps(follow(run_in(tmp_path, tracker))) == [20, 30, 40]
    assert trained(tmp_path) == [10, 20, 30, 40], "no step is trained twice"
    assert tracker.steps() == [20, 30, 40], "step 20 is reported again, in case nobody received it"


def test_a_finished_run_repeats_its_result_without_training(tmp_path):
    list(follow(run_in(tmp_path)))
    again = list(follow(run_in(tmp_path)))
    assert steps(again) == [40] and again[0].status == "completed"
    assert trained(tmp_path) == [10, 20, 30, 40]


def test_a_truncated_newest_checkpoint_is_skipped(tmp_path):
    first = follow(run_in(tmp_path))
    next(first), next(first)
    first.close()
    (tmp_path / "run" / "step-00000020" / "weights").write_text("")
    assert steps(follow(run_in(tmp_path))) == [10, 20, 30, 40]


def test_damaged_checkpoints_of_later_steps_do_not_displace_new_ones(tmp_path):
    list(follow(run_in(tmp_path)))
    for damaged in (tmp_path / "run").glob("step-*"):
        (damaged / "weights").write_text("")
    again = follow(run_in(tmp_path))
    first = next(again)
    assert first.checkpoint is not None and Path(first.checkpoint).is_dir()
    assert [path.name for path in (tmp_path / "run").glob("step-*")] == ["step-00000010"]
    again.close()
    assert steps(follow(run_in(tmp_path))) == [10, 20, 30, 40], "it resumes from the new one"


def test_the_first_worker_deletes_what_a_killed_save_left(tmp_path):
    left = tmp_path / "run" / ".step-00000010.1"
    left.mkdir(parents=True)
    next(follow(run_in(tmp_path), writes=False))
    assert left.is_dir(), "another worker writes nothing, and deletes nothing"
    next(follow(run_in(tmp_path)))
    assert not left.exists()


def test_another_specs_checkpoint_is_refused(tmp_path):
    next(follow(run_in(tmp_path)))
    with pytest.raises(CheckpointError, match=r"quantizer\.decay"):
        next(follow(run_in(tmp_path, quantizer__decay=0.5)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_a_checkpoint_stops_the_run_which_resumes(code, tmp_path, monkeypatch):
    rename = Path.rename

    def refuse(path, target):
        if target.name == "step-00000020":
            raise OSError(code, os.strerror(code), str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    reports = follow(run_in(tmp_path))
    assert next(reports).metrics["progress/step"] == 10
    place = re.escape(str(tmp_path / "run"))
    with pytest.raises(DiskError, match=f"the (disk|quota on the disk) of {place}.*the same command resumes"):
        next(reports)
    assert [path.name for path in (tmp_path / "run").glob("*step-*")] == ["step-00000010"], "nothing else is left"
    monkeypatch.undo()
    assert steps(follow(run_in(tmp_path))) == [10, 20, 30, 40]


def test_a_checkpoint_is_not_begun_where_it_does_not_fit(tmp_path, monkeypatch):
    reports = follow(run_in(tmp_path))
    next(reports)
    usage, written = shutil.disk_usage(tmp_path), []
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=MARGIN))
    monkeypatch.setattr(checkpoint, "write", lambda *args: written.append(args))
    with pytest.raises(DiskError, match=r"is full .*8\.0 MB free, a checkpoint takes 0\.\d MB, and 8\.\d MB stay free"):
        next(reports)
    assert written == []


def test_a_run_continues_where_a_checkpoint_fails_for_another_reason(tmp_path, monkeypatch):
    write = checkpoint.write

    def broken(path, spec, stored, fill):
        if stored["step"] == 20:
            raise CheckpointError("it could not be serialized")
        return write(path, spec, stored, fill)

    monkeypatch.setattr(checkpoint, "write", broken)
    reports = list(follow(run_in(tmp_path)))
    assert steps(reports) == [10, 20, 30, 40]
    assert "could not be serialized" in reports[1].tags["checkpoint/failed"]
    assert reports[1].checkpoint.endswith("step-00000010")


def test_other_workers_yield_in_step_and_write_nothing(tmp_path):
    tracker = Journal()
    assert steps(follow(run_in(tmp_path, tracker), writes=False)) == [10, 20, 30, 40]
    assert tracker.calls == [] and not (tmp_path / "run").exists()


def test_a_process_ends_when_another_one_has_resumed_its_run(tmp_path):
    tracker = Journal()
    lost = follow(run_in(tmp_path, tracker))
    next(lost), next(lost)
    assert steps(follow(run_in(tmp_path))) == [20, 30, 40]
    kept = sorted((tmp_path / "run").glob("step-*"))
    with pytest.raises(UserError, match="was resumed by another process"):
        next(lost)
    assert tracker.steps() == [10, 20] and sorted((tmp_path / "run").glob("step-*")) == kept


def test_a_run_continues_without_a_claim_on_a_full_disk(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError("no space left on device")

    monkeypatch.setattr("t5vqvae.runs.ownership.Path.write_text", full)
    FolderOwner(tmp_path / "run").check()


def test_seconds_add_up_over_starts(tmp_path):
    next(follow(run_in(tmp_path)))
    clock = tmp_path / "run" / "seconds.json"
    clock.write_text(json.dumps({"seconds": 1000.0}))
    assert 1000 < list(follow(run_in(tmp_path)))[-1].seconds < 1060


def test_failure_leaves_a_line_and_a_traceback(tmp_path):
    try:
        raise RuntimeError("broken\nbadly")
    except RuntimeError as error:
        report = failure(tmp_path / "r", error, Report("running", {"validation/nll": 1.0}, {"a": "b"}))
    assert report.status == "failed" and report.metrics == {"validation/nll": 1.0}
    assert report.tags == {"a": "b", "error": "RuntimeError: broken"}
    assert "Traceback" in (tmp_path / "r" / "error.txt").read_text()


def test_a_trainer_is_named_module_colon_function():
    with pytest.raises(SettingError, match="module:function"):
        load_trainer("stub")
