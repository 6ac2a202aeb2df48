"""The token of the embedded Ray head: the head takes jobs of those who send it, and of nobody else.

Any user of this machine reaches the loopback interface. The token lies in the state folder, in a file for its owner
alone. It stays when the head ends: a shell that names a file that is gone could start no Ray at all.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from cluster.service import Facts, ServiceError
from t5vqvae.files import atomic_write

MODE = "RAY_AUTH_MODE"
PATH = "RAY_AUTH_TOKEN_PATH"
TOKEN = "RAY_AUTH_TOKEN"
"""A variable that holds a token itself; Ray takes it before that of the file."""


def token_path(state: Path) -> Path:
    """Returns the path of the token's file."""
    return state / "run" / "ray.token"


def token_facts(state: Path) -> Facts:
    """Returns what the record of a Ray head keeps of its token, which is made if there is none.

    A mode that the user has set counts; Ray 2.60 knows `token` and `disabled`.

    Raises:
        ServiceError: If the token can neither be read nor written.
    """
    mode = os.environ.get(MODE) or "token"
    if mode.lower() != "token":
        return {"auth": mode}
    path = token_path(state)
    try:
        if not path.exists() or not path.read_text().strip():
            _write_new(path)
        path.chmod(0o600)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no text"
        raise ServiceError(f"{path}: {reason}; delete it to get a new token, or set {MODE}=disabled") from error
    return {"auth": "token", "token": str(path)}


def token_environment(facts: Facts) -> dict[str, str]:
    """Returns the variables with which a process starts or reaches the head with these facts."""
    if "token" not in facts:
        return {MODE: str(facts["auth"])} if "auth" in facts else {}
    return {MODE: "token", PATH: str(facts["token"]), TOKEN: ""}


def token_exports(facts: Facts, outside: Mapping[str, str]) -> list[str]:
    """Returns the lines with which a shell reaches the head.

    Args:
        facts: Of the head.
        outside: The variables of that shell.
    """
    found = token_environment(facts)
    lines = [f"unset {TOKEN}"] if found.pop(TOKEN, None) is not None and outside.get(TOKEN) else []
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in found.items())
    return [*lines, f"export {words}"] if words else lines


def _write_new(path: Path) -> None:
    with atomic_write(path) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_text(secrets.token_hex(32))
