"""Where a run came from: who started it, at which commit."""

from __future__ import annotations

import getpass
import subprocess
from functools import cache
from pathlib import Path


def tags() -> dict[str, str]:
    """Returns MLflow's tags for user and commit, and `git_dirty`; of what is not known, none."""
    return git_tags() | user_tags()


def user_tags() -> dict[str, str]:
    """Returns the user as MLflow shows it."""
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}


@cache
def git_tags() -> dict[str, str]:
    """Returns the commit this code was checked out at, and whether it has changed since; empty outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git_dirty": "true" if changes else "false"}
