from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t5vqvae.errors import SettingError, UserError
from tune.records import study_paths as state
from tune.records.study_paths import StudyPaths, state_dir


def test_order_of_precedence(monkeypatch, tmp_path):
    monkeypatch.setenv("T5VQVAE_STATE", str(tmp_path / "env"))
    assert state_dir(tmp_path / "told") == tmp_path / "told"
    assert state_dir() == tmp_path / "env"
    monkeypatch.delenv("T5VQVAE_STATE")
    assert state_dir() == Path(state.__file__).resolve().parents[2] / "var"


def test_same_from_a_foreign_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("T5VQVAE_STATE", raising=False)
    here = state_dir()
    monkeypatch.chdir(tmp_path)
    assert state_dir() == here


def test_never_inside_the_unpacked_copy_of_a_job(monkeypatch, tmp_path):
    monkeypatch.delenv("T5VQVAE_STATE", raising=False)
    unpacked = tmp_path / "working_dir_files" / "_ray_pkg_0123"
    unpacked.mkdir(parents=True)
    (unpacked / "pyproject.toml").touch()
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").touch()
    monkeypatch.setattr(state, "CODE_ROOT", unpacked)
    monkeypatch.setattr(state, "_installed_from", lambda: project)
    assert state_dir() == project / "var"
    monkeypatch.setattr(state, "_installed_from", lambda: None)
    assert unpacked not in state_dir().parents


def test_a_study_has_one_driver_and_the_lock_falls_with_it(tmp_path):
    paths = StudyPaths(tmp_path, "s")
    code = "from tune.records.study_paths import StudyPaths; from pathlib import Path\n"
    code += f"with StudyPaths(Path({str(tmp_path)!r}), 's').locked(): print('held')"
    with paths.locked():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"is being searched by process {os.getpid()} on {os.uname().nodename};" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "held\n"
    with paths.locked(), pytest.raises(UserError, match="being searched"), paths.locked():
        pass


def test_the_holder_of_a_study_is_named_with_its_job(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "search-1"}}')
    paths = StudyPaths(tmp_path, "s")
    with paths.locked(), pytest.raises(UserError) as caught, paths.locked():
        pass
    line = str(caught.value)
    assert "the Ray job search-1 (ray job stop search-1)" in line and "name=..." in line and "--name" not in line


def test_a_missing_study_is_named_in_one_wording_with_the_nearest(tmp_path):
    studies = tmp_path / "studies"

    def refusal(study: str, **options) -> str:
        with pytest.raises(SettingError) as caught:
            StudyPaths.existing(tmp_path, study, **options)
        return str(caught.value)

    nothing = ", which holds none; search it first, or name another folder by --state"
    assert refusal("tiny") == f"there is no study tiny under {studies}{nothing}"
    for study, file in (("tiny", "study.json"), ("gumbel", "ablation.json")):
        (studies / study).mkdir(parents=True)
        (studies / study / file).touch()
    assert StudyPaths.existing(tmp_path, "tiny") == StudyPaths(tmp_path, "tiny")
    assert StudyPaths.existing(tmp_path, "gumbel", ablations=True) == StudyPaths(tmp_path, "gumbel")
    assert refusal("tinny") == f"there is no study tinny under {studies}; did you mean tiny?"
    assert refusal("gumble") == f"there is no study gumble under {studies}; known: tiny"
    assert refusal("gumble", ablations=True) == f"there is no study gumble under {studies}; did you mean gumbel?"
    assert refusal("tinny", named_by="--from").startswith("--from: there is no study tinny")
    assert refusal("gumbel", named_by="--from") == "--from: study gumbel is an ablation; name a search instead"
