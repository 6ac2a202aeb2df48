"""What help, lists and refusals of `t5vqvae` cost: CPU time against importing typer, yaml and pydantic alone.

    python -m tests.benchmarks.command_start [--repeats 5] [--output FILE.md]

Every command is a process of its own; user and system time are added, and the median of the repeats counts. The
commands and the bare import take turns, so that a busy machine slows both. The index of settings is written first, as
`make install` does. The goal: no command costs more than 4 times the bare import.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.search_tables import described, parser, write
from tune.records.record import TrialRecord
from tune.spec.search_spec import SearchSpec

GOAL = 4.0
BARE = [sys.executable, "-c", "import typer, yaml, pydantic"]
COMMANDS = {
    "--help": 0,
    "search --help": 0,
    "ablate --help": 0,
    "promote --help": 0,
    "interpolate --help": 0,
    "traverse quickstart text": 2,
    "trials quickstart": 0,
    "trials quickstar": 2,
    "search quickstar": 2,
    "search quickstart quantizer.codebok_size=3": 2,
    "ablate gumbel quantizer.codebok_size=3": 2,
    "train train.max_step=3": 2,
    "search --trails 3": 2,
    "serach": 2,
}
"""Command lines with their exit statuses."""


def cpu_seconds(command: list[str], state: Path, status: int) -> float:
    """Returns the user and system time of one process.

    Args:
        command: The process.
        state: The state folder; the user's cache folder lies in it.
        status: The exit status that it must have.
    """
    env = {**os.environ, "T5VQVAE_STATE": str(state), "XDG_CACHE_HOME": str(state / "cache")}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode != status:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}, not {status}")
    return used.ru_utime + used.ru_stime


def prepare(state: Path, num_trials: int = 20) -> None:
    """Writes the index of settings and a study with ended trials."""
    cpu_seconds([sys.executable, "-m", "tune.known_settings"], state, 0)
    spec = SearchSpec.load("quickstart")
    root = state / "studies" / spec.name
    root.mkdir(parents=True)
    spec.write(root / "study.json")
    metrics = {objective.metric: 0.25 for objective in spec.objectives}
    for number in range(num_trials):
        folder = root / "trials" / f"{number:05d}"
        folder.mkdir(parents=True)
        TrialRecord(spec.name, number, {"seed": number}, None, None, "completed", 50, metrics).write(folder)


def measure(repeats: int) -> dict[str, float]:
    """Returns the median CPU seconds of the bare import, named '', and of every command."""
    lines = {"": (BARE, 0)}
    lines |= {words: ([sys.executable, "-m", "tune.cli", *words.split()], code) for words, code in COMMANDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        taken: dict[str, list[float]] = {words: [] for words in lines}
        for _ in range(repeats + 1):  # the first round fills the caches of bytecode and of the disk
            for words, (command, status) in lines.items():
                taken[words].append(cpu_seconds(command, Path(folder), status))
    return {words: statistics.median(seconds[1:]) for words, seconds in taken.items()}


def table(seconds: dict[str, float], command: str) -> str:
    """Returns the result as Markdown."""
    bare = seconds.pop("")
    lines = [
        "# The start of a command",
        "",
        *described(command),
        "",
        f"`python -c 'import typer, yaml, pydantic'` takes {bare:.3f} s of CPU time (user and system, median).",
        "",
        "| command | CPU seconds | times the bare import |",
        "| --- | --- | --- |",
        *[f"| `t5vqvae {words}` | {each:.3f} | {each / bare:.2f} |" for words, each in seconds.items()],
        "",
        f"The most is {max(seconds.values()) / bare:.2f} times the bare import; the goal is {GOAL:g} times.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints and writes the table."""
    options = parser(__doc__, repeats=5).parse_args()
    write(table(measure(options.repeats), f"command_start --repeats {options.repeats}"), options.output)


if __name__ == "__main__":
    main()
