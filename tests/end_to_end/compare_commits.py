"""Compares the present tree with another commit: the same seeded runs in both, and every value that they leave.

    python -m tests.end_to_end.compare_commits [--commit f566e11] [--keep FOLDER] [--tolerance 0] [--record FILE]

This is the merge rule of a refactoring: identical milestones, records, choices, effects and reports before and after.
The commit is cloned into a temporary folder, which is removed at the end. Each tree takes about 70 s on two cores.
Exit status: 0 where all is equal, 1 where values differ, 2 where a tree could not be run.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.end_to_end.seeded_runs import QUANTIZERS, ablate, search, train
from tests.end_to_end.stored_values import MISSING, Values, differences, read_ablation, read_search, read_training

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "f566e11"
"""The last commit before the move into today's folders."""
NUM_SHOWN = 5
"""Differing values that are named, of each group."""

LATER = ("spec", "parameters", "samples", "weights", "tags", "plan", "train/grad_norm", "files")
"""Last words of names that are not recorded: a later commit may add settings and texts, and the norm of a gradient
magnifies the rounding of another processor."""


def values_of(tree: Path, state: Path, *, studies: bool = True) -> Values:
    """Runs everything in a tree and returns the values.

    Args:
        tree: A checkout.
        state: A folder for its state; created if need be.
        studies: Whether to run the search and the ablation, too.
    """
    state.mkdir(parents=True, exist_ok=True)
    found: Values = {}
    for quantizer in QUANTIZERS:
        train(tree, state, quantizer)
        found |= read_training(state, quantizer)
    if studies:
        search(tree, state)
        ablate(tree, state)
        found |= read_search(state) | read_ablation(state)
    return found


def checkout(commit: str, folder: Path) -> Path:
    """Clones a commit of this repository into a folder, sharing its objects; returns the folder."""
    for words in (
        ["clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder)],
        ["-C", str(folder), "checkout", "--quiet", "--detach", commit],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    return folder


def table(before: Values, after: Values, tolerance: float) -> tuple[list[str], list[str]]:
    """Returns a table of what was compared, and lines that name the first differing values of each group."""
    lines = [f"{'group':20} {'values':>7} {'differing':>9} {'largest relative difference':>28}"]
    differing = []
    for group in dict.fromkeys([*before, *after]):
        one, other = before.get(group, {}), after.get(group, {})
        found = differences(one, other)
        beyond = [name for name, difference in found.items() if difference > tolerance]
        finite = max((value for value in found.values() if math.isfinite(value)), default=0.0)
        lines.append(f"{group:20} {len(found):7} {len(beyond):9} {finite:28.3g}")
        first = beyond[:NUM_SHOWN]
        differing += [f"{group}: {name}: {_shown(one, name)} before, {_shown(other, name)} now" for name in first]
    return lines, differing


def _shown(values: Mapping[str, Any], name: str) -> str:
    text = repr(values.get(name, MISSING))
    return text if len(text) <= 200 else f"{text[:200]}..."


def recordable(values: Values) -> Values:
    """Returns the values that later commits must repeat on any machine: numbers, statuses, codes and choices."""
    return {
        group: {name: _rounded(value) for name, value in found.items() if _is_recorded(name, found)}
        for group, found in values.items()
        if not group.endswith(("report", "Optuna"))  # they say the same in other words
    }


def _is_recorded(name: str, found: Mapping[str, Any]) -> bool:
    """Returns whether a value is recorded; the last milestone of a trial is in its record, and needs no second copy."""
    trial, step, metric = name.partition(" step ")
    repeated = step and found.get(f"{trial} {metric.partition(' ')[2]}") == found[name]
    return not (name.endswith(LATER) or "tokens/" in name or repeated)


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="compare_commits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commit", default=COMMIT, help="the commit to compare with")
    parser.add_argument("--keep", type=Path, help="folder for checkout and states, kept afterwards; must not exist")
    parser.add_argument("--tolerance", type=float, default=0.0, help="largest relative difference that passes")
    parser.add_argument("--record", type=Path, help="only run the commit, and write its values into this JSON file")
    options = parser.parse_args(arguments)
    try:
        return _compare(options)
    except subprocess.CalledProcessError as error:
        print(f"git: {error.stderr.strip()}", file=sys.stderr)
    except RuntimeError as error:
        print(error, file=sys.stderr)
    return 2


def _compare(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare_commits")))
        folder = folder.resolve()
        before = values_of(checkout(options.commit, folder / "before"), folder / "before_state")
        if options.record is not None:
            options.record.write_text(json.dumps(recordable(before), indent=0) + "\n")
            print(f"{options.record}: {sum(map(len, recordable(before).values()))} values of {options.commit}")
            return 0
        after = values_of(ROOT, folder / "after_state")
    lines, differing = table(before, after, options.tolerance)
    print("\n".join(lines))
    if not differing:
        print(f"the present tree equals {options.commit}")
        return 0
    print(f"\nthe present tree differs from {options.commit}; the first values of each group:")
    print("\n".join(differing))
    return 1


if __name__ == "__main__":
    sys.exit(main())
