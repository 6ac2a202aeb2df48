"""The origin of a run: the user who started it and the commit of the code."""

from __future__ import annotations

import getpass
import subprocess
from functools import cache
from pathlib import Path


def tags() -> dict[str, str]:
    """Returns MLflow's tags for user and commit, and `git_dirty`; unknown ones are left out."""
    return _git_tags() | _user_tags()


def _user_tags() -> dict[str, str]:
    """Returns the tag from which MLflow shows the user; empty when the user has no name."""
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}


@cache
def _git_tags() -> dict[str, str]:
    """Returns tags for the commit of this code and for uncommitted changes; empty outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git_dirty": "true" if changes else "false"}
