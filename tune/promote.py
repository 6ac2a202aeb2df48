"""Promotion: a study's best trial becomes a version of the registered model, and champion if it beats the present one.

    t5vqvae promote STUDY [--gate "test/exact_match >= 0.5"] [--replace] [--name t5vqvae] [--state DIR]

Best is decided on the validation split, among completed trials with a bottleneck that keep the study's constraints. The
test split is evaluated once for a trial; its numbers are kept beside the checkpoint and used again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tune.process import exit_status
from tune.promotion.gate import Gate, refusals
from tune.records.models import kept_checkpoint
from tune.records.study_paths import StudyPaths, state_dir
from tune.records.study_tracker import tracker_of

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
from tune.promotion.candidate import best_trial, test_once
from tune.promotion.registration import compare, registered, same

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Promotion:
    """What became of a study's best trial.

    Attributes:
        run_id: The trial's run id; its study and number where it has none.
        alias: `champion` or `challenger`.
        effect: How much better it is than the champion before it, on the first objective's test metric and in its
            unit; None without a comparison.
        test_metrics: Of the test split and every extra test set.
        passed: Whether it is champion now.
        reasons: Why, one sentence each.
        version: Of the registered model.
        model_uri: What `mlflow.pyfunc.load_model` takes.
    """

    run_id: str
    alias: str
    effect: float | None
    test_metrics: Mapping[str, float]
    passed: bool
    reasons: tuple[str, ...]
    version: str
    model_uri: str


def promote(
    paths: StudyPaths,
    *,
    tracker: Tracker | None = None,
    registered_name: str = "t5vqvae",
    alias: str = CHAMPION,
    gates: Sequence[Gate] = (),
    replace: bool = False,
) -> Promotion:
    """Registers the best trial of a study; it takes over the alias if it beats the version that holds it.

    Args:
        paths: Where the study lies.
        tracker: Where it is tracked; None: where the study says.
        registered_name: The registered model.
        alias: What the best version is called.
        gates: Bounds on test metrics, besides the study's constraints.
        replace: Take the alias over even if the holder is better or was tested on other data; gates still count.

    Raises:
        UserError: If no trial can be promoted.
        TrackingError: If the server cannot be reached.
    """
    spec, record = best_trial(paths)
    tracker = tracker or tracker_of(spec, paths)
    tracker.check()
    for folder in (paths.root, paths.trials):
        tracker.replay(folder)
    weights = kept_checkpoint(paths, record)
    result = test_once(paths, spec, record, weights)
    metrics = {**record.metrics, **result.metrics}
    version = registered(tracker, registered_name, spec, record, result, weights)
    registry = tracker.registry(registered_name)
    holder = registry.holder(alias)
    shut = refusals([*map(Gate.of_constraint, spec.constraints), *gates], metrics)
    effect, beats, reason = compare(spec, metrics, result, holder, version)
    passed = not shut and (beats or replace)
    if passed:
        registry.point(alias, version.version)
        if same(registry.holder(CHALLENGER), version):
            registry.point(CHALLENGER, None)
    elif not same(holder, version):
        registry.point(CHALLENGER, version.version)
    held = alias if passed or same(holder, version) else CHALLENGER
    uri = f"models:/{registered_name}@{held}"
    return Promotion(result.identity, held, effect, result.metrics, passed, (*shut, reason), version.version, uri)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 if the trial is champion, 1 if it is challenger, 2 for what was refused."""
    parser = argparse.ArgumentParser(prog="promote", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", help="name of a searched study")
    parser.add_argument("--gate", action="append", default=[], help="a bound on a test metric; may be repeated")
    parser.add_argument("--replace", action="store_true", help="take the alias over from a better or incomparable one")
    parser.add_argument("--name", default="t5vqvae", help="registered model")
    parser.add_argument("--state", type=Path, help="state folder; default: $T5VQVAE_STATE, or var/ of the project")
    options = parser.parse_args(arguments)
    return exit_status(lambda: _carry_out(options))


def _carry_out(options: argparse.Namespace) -> int:
    outcome = promote(
        StudyPaths(state_dir(options.state), options.study),
        registered_name=options.name,
        gates=[Gate.parse(text) for text in options.gate],
        replace=options.replace,
    )
    for line in shown(outcome):
        print(line)
    return 0 if outcome.alias != CHALLENGER else 1


def shown(outcome: Promotion) -> list[str]:
    """Returns a promotion as lines for the terminal."""
    tests = [f"  {name} = {value:.4g}" for name, value in sorted(outcome.test_metrics.items())]
    reasons = [f"  {reason}" for reason in outcome.reasons]
    head = f"run {outcome.run_id} is version {outcome.version}, alias {outcome.alias}"
    return [*tests, head, *reasons, f'load it: mlflow.pyfunc.load_model("{outcome.model_uri}")']


if __name__ == "__main__":
    sys.exit(main())
