"""`ray job submit --working-dir .` packs the code and the studies, and neither a key nor a password nor the state."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from places import ROOT
from ray._private.runtime_env.packaging import _dir_travel

KEPT = ["tune/search.py", "t5vqvae/errors.py", "tune/studies/quickstart.yaml", "pyproject.toml", "my_study.yaml"]
LEFT = [
    ".env",
    ".env.production",
    "id_rsa",
    "id_ed25519.pub",
    "server.pem",
    "tls.key",
    ".netrc",
    ".aws/credentials",
    ".git/config",
    ".venv/bin/python",
    "var/mlflow.db",
    "secrets.yaml",
    "credentials.json",
    "kubeconfig",
    "notes.txt",
    "tune/.env",
    "tune/studies/id_rsa",
    "t5vqvae/deep/er/server.pem",
    "tune/__pycache__/x.pyc",
]


def packed(folder: Path) -> set[str]:
    """Returns the files that Ray would upload."""
    found: list[Path] = []
    _dir_travel(folder, [], found.append, include_gitignore=True)
    return {str(path.relative_to(folder)) for path in found if path.is_file()}


def test_code_and_studies_are_packed_and_no_secret(tmp_path: Path) -> None:
    for name in (".rayignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in [*KEPT, *LEFT]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert packed(tmp_path) == set(KEPT)


@pytest.mark.parametrize("package", ["t5vqvae", "tune"])
def test_every_file_of_the_packages_is_packed(package: str) -> None:
    every = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*") if path.is_file()}
    wanted = {name for name in every if "__pycache__" not in name}
    assert wanted <= packed(ROOT)
