"""An installed wheel works in a folder that is no checkout: up, env, a search, what it found, down."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from places import ROOT
from searches import REAL

PACKED = ["pyproject.toml", "README.md", "LICENSE", "t5vqvae", "tune", "cluster"]
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "PYTHONPATH", "T5"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because a build leaves files in its folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKED:
        place, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=ignored)
        else:
            shutil.copy(place, folder)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "built", "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    return next((folder / "built").glob("*.whl"))


@pytest.fixture(scope="module")
def t5vqvae(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment of its own, which has the wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, env=CLEAN)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    # Without PYTHONPATH: the egg-info of an installed checkout would count as this package, and nothing be installed.
    subprocess.run(pip, check=True, capture_output=True, text=True, timeout=120, env=CLEAN)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file brings the libraries and no .pth file of theirs, as that of an editable installation.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "t5vqvae"


@pytest.mark.slow
def test_a_wheel_has_studies_assets_and_the_servers_and_nothing_of_the_checkout(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    studies = {f"tune/studies/{path.name}" for path in (ROOT / "tune" / "studies").glob("*.yaml")}
    assert studies <= names and {"tune/report/assets/report.css", "cluster/local.py", "t5vqvae/py.typed"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"t5vqvae", "tune", "cluster"}


@pytest.mark.slow
@pytest.mark.ray
def test_an_installed_wheel_starts_servers_and_searches_in_a_foreign_folder(t5vqvae: Path, tmp_path: Path) -> None:
    environment = {**CLEAN, "T5VQVAE_STATE": str(tmp_path / "state"), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(t5vqvae), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    where = "import cluster, t5vqvae, tune; print(cluster.__file__, t5vqvae.__file__, tune.__file__)"
    python = str(t5vqvae.with_name("python"))
    found = subprocess.run([python, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert all(str(t5vqvae.parent.parent) in file for file in found.stdout.split()), found
    try:
        said = run("up", "--timeout", "240")
        assert 'Next: eval "$(t5vqvae env)", then t5vqvae --help; t5vqvae down ends both servers' in said
        exports = dict(word.split("=", 1) for word in shlex.split(run("env")) if "=" in word)
        assert exports["T5VQVAE_STATE"] == str(tmp_path / "state")
        environment.update(exports)
        settings = [f"{path}={value}" for path, value in REAL.items()]
        run("search", "quickstart", "name=small", *settings, "scheduler.name=none", "--trials", "1")
        assert re.search(r"small\s+search\s+finished\s+1\s+1", run("studies"))
        assert "nll" in run("trials", "small")
        mlflow = subprocess.run(
            [python, "-c", COUNTED, exports["MLFLOW_TRACKING_URI"]], env=environment, capture_output=True, text=True
        )
        assert mlflow.stdout.split() == ["2"], mlflow.stderr[-1000:]
    finally:
        said = run("down")
    assert re.search(r"ray: ended \d+ processes", said) and re.search(r"mlflow: ended \d+ processes", said)


COUNTED = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("small")
print(len(client.search_runs([experiment.experiment_id])))
"""
"""Counts the runs of a study where the server says they are: its trial and the parent."""
