"""Programs that a test needs: without one, CI fails, and others skip."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NoReturn

import pytest


def program(name: str, source: str) -> str:
    """Returns the path of a program, next to this Python or on the PATH.

    Args:
        name: What it is called.
        source: Where it comes from, for the message.
    """
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return found or _without(f"needs {name} ({source})")


@cache
def from_npm(*packages: str) -> Path:
    """Installs packages of npm, with their versions, into a temporary folder; returns that folder."""
    npm, folder = program("npm", "Debian: npm"), Path(mkdtemp(prefix="t5vqvae-npm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Without their scripts: what an installed package does itself is not wanted here, and nothing needs it.
    words = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    try:
        subprocess.run([*words, *packages], check=True, capture_output=True, text=True, timeout=180)
    except subprocess.SubprocessError as error:
        _without(f"npm could not install {', '.join(packages)}: {getattr(error, 'stderr', None) or error}"[:500])
    return folder


def _without(message: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    raise AssertionError
