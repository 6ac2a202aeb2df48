"""Takes a mechanism away and runs the tests that should notice: a test that passes all the same holds nothing.

    python tests/support/mutants.py [ROW ...]

Each mutant undoes in one place what mended a row of `tests/faults.md`. It is made in a copy of the checkout. Prints a
line for each and ends with 1 if one survives. Takes about two minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COPIED = ("t5vqvae", "tune", "cluster", "tests", "pyproject.toml", "README.md", "Makefile")


@dataclass(frozen=True)
class Mutant:
    """One mechanism undone.

    Attributes:
        row: The fault that comes back.
        file: Where it was mended.
        old: The text that stands there once.
        new: What takes its place.
        test: What pytest runs.
    """

    row: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = [
    Mutant(
        "W13",
        "tune/sampling/tried.py",
        "return known >= self._spec.space.count(self._spec.base_values, known + 1)",
        "return False",
        "tests/tune/sampling/test_suggestions.py",
    ),
    Mutant(
        "W13",
        "tune/sampling/suggestions.py",
        "if drawn and not self._tried.may_try(overrides, trial.number):",
        "if False:",
        "tests/tune/sampling/test_suggestions.py",
    ),
    Mutant(
        "W15",
        "tune/spec/kept_study.py",
        "if new != old:",
        "if False:",
        "tests/tune/spec/test_search_spec.py",
    ),
    Mutant(
        "W17",
        "tune/sampling/resume.py",
        "        suggestions.reopen(trial.number)\n        return\n",
        "        return\n",
        "tests/tune/sampling/test_resume.py",
    ),
    Mutant(
        "W23",
        "tune/space/ranges.py",
        "return float(_decimal(self.low) + place * _decimal(self.step))",
        "return self.low + place * self.step",
        "tests/tune/sampling/test_suggestions.py",
    ),
    Mutant(
        "M6",
        "tune/cli.py",
        "            paths.other(warm_start)\n",
        "            pass\n",
        "tests/tune/test_cli.py",
    ),
    Mutant(
        "T8",
        "t5vqvae/data/checked.py",
        "return _is_good(folder, lambda: read_json(folder / MANIFEST) == _entries(folder))",
        "return (folder / MANIFEST).exists()",
        "tests/t5vqvae/data/test_prepare.py",
    ),
    Mutant(
        "T8",
        "t5vqvae/data/checked.py",
        'if not _is_good(path, lambda: sums.read_text("utf-8") == file_sha256(path)):',
        "if not path.exists():",
        "tests/t5vqvae/data",
    ),
    Mutant(
        "T8",
        "t5vqvae/files.py",
        "if known != digest(values):",
        "if False:",
        "tests/t5vqvae/test_files.py",
    ),
    Mutant(
        "M12",
        "t5vqvae/runs/in_process.py",
        "    _close(run, last, last.status, {})\n",
        "",
        "tests/t5vqvae/runs/test_in_process_tracking.py",
    ),
    Mutant(
        "S1",
        "t5vqvae/redaction.py",
        "return {name: redacted_values(value) for name, value in values.items()}",
        "return dict(values)",
        "tests/tune/records/test_study_tracker.py",
    ),
    Mutant(
        "S1",
        "t5vqvae/redaction.py",
        "for pattern in (_USER, _ODD_PASSWORD, _PATH):",
        "for pattern in (_PATH,):",
        "tests/t5vqvae/test_redaction.py",
    ),
]


def copied(into: Path) -> None:
    """Copies the checkout without what git ignores."""
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, into / name)  # type: ignore[operator]


def is_noticed(mutant: Mutant, checkout: Path) -> bool:
    """Puts a mutant into a checkout, runs its tests and takes it out; returns whether one of them failed."""
    file = checkout / mutant.file
    text = file.read_text("utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} holds {mutant.old!r} {text.count(mutant.old)} times, not once"
    file.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", mutant.test]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    ended = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    file.write_text(text, "utf-8")
    assert ended.returncode in (0, 1), ended.stdout[-2_000:]
    return ended.returncode == 1


def main() -> int:
    """Tries the mutants of the rows that are named, or all; returns the exit status."""
    rows = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not rows or mutant.row in rows]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        for mutant in chosen:
            noticed = is_noticed(mutant, Path(folder))
            survived += not noticed
            print(f"{mutant.row}: {mutant.file}: {'noticed' if noticed else 'SURVIVED'} by {mutant.test}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
