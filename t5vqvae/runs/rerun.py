"""The command that trains a run again: the settings in which it differs from the defaults, as words."""

from __future__ import annotations

import json
import shlex
from typing import Any

from t5vqvae.config import read_value
from t5vqvae.errors import SettingError
from t5vqvae.redaction import redacted
from t5vqvae.spec.run import RunSpec

_NEITHER = object()


def rerun_command(spec: RunSpec) -> str:
    """Returns the command that trains a run again on one machine."""
    return shlex.join(["t5vqvae", "train", *rerun_words(spec)])


def rerun_words(spec: RunSpec) -> list[str]:
    """Returns the words of `t5vqvae train` that give this spec; variants' names first."""
    wanted, default = spec.as_flat_dict(), RunSpec().as_flat_dict()
    names = {path: value for path, value in wanted.items() if path.endswith("name") and default.get(path) != value}
    try:
        default = RunSpec().with_overrides(names).as_flat_dict()
    except SettingError:  # a variant that needs a further setting, such as a path: all of them are written
        default = {}
    changed = {path: value for path, value in wanted.items() if default.get(path, _NEITHER) != value}
    return [f"{path}={_word(value)}" for path, value in {**names, **changed}.items()]


def rerun_note(spec: RunSpec, head: str) -> str:
    """Returns a run's description in Markdown: what it is, and the command that reruns it.

    Args:
        spec: The run.
        head: What it is; may be empty.
    """
    command = f"Run it again, on one machine:\n\n```\n{redacted(rerun_command(spec))}\n```"
    return f"{head}\n\n{command}" if head else command


def _word(value: Any) -> str:
    """Returns a value as `read_value` reads it."""
    quoted = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return quoted
    try:
        return value if read_value(value) == value else quoted
    except SettingError:
        return quoted
