"""What the benchmarks of the search write beside their numbers, and where."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

PACKAGES = ("ray", "optuna", "mlflow", "torch", "transformers")


def described(command: str, packages: Sequence[str] = PACKAGES) -> list[str]:
    """Returns the lines that say how and where a table was made, the machine's load included.

    Args:
        command: The module under `tests.benchmarks` and its options.
        packages: The packages whose versions count.
    """
    versions = ", ".join(f"{name} {metadata.version(name).split('+')[0]}" for name in packages)
    load = os.getloadavg()[1]
    cores = len(os.sched_getaffinity(0))
    return [
        f"`python -m tests.benchmarks.{command}` on {cores} {platform.machine()} cores with a load of {load:.1f}"
        f" at the end; {versions}."
    ]


def parser(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """Returns a benchmark's command line: its first line of documentation, `--output`, and options with defaults."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for name, default in numbers.items():
        made.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    made.add_argument("--output", type=Path)
    return made


def write(text: str, output: Path | None) -> None:
    """Prints a table and writes it where asked."""
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
