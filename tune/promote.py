"""Registers the best trial of a study, and makes it champion if it beats the present one.

    t5vqvae promote STUDY [--gate "test/exact_match >= 0.5"] [--replace] [--name t5vqvae] [--state DIR]
    python -m tune.promote STUDY [...]

The validation split decides which trial is best, among completed trials with a bottleneck that keep the study's
constraints. The test split is evaluated once for a trial; its metrics and the scores of its sentences are kept next to
the checkpoint and reused. A paired bootstrap over the sentences is printed next to the verdict; it does not decide.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds: help and refusals are quick
    import sys

    from tune.cli import main

    sys.exit(main(["promote", *sys.argv[1:]]))

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.files import held
from t5vqvae.stages import stage
from tune.promotion.candidate import TEST_FILE, best_trial, still_to_come, test_once, test_sets_of
from tune.promotion.gate import Gate, refusals, refuse_unmeasured
from tune.promotion.registration import compare, compare_sentences, registered, same
from tune.promotion.sentence_scores import SENTENCES_FILE
from tune.promotion.verdict import headline
from tune.records.copies import StudyCopies
from tune.records.fetching import fetch_checkpoint
from tune.records.models import kept_checkpoint
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.model_registry import Registry, Version
    from tune.spec.search_spec import SearchSpec

CHAMPION, CHALLENGER = "champion", "challenger"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """The outcome of a promotion.

    Attributes:
        run_id: The trial's run id; its study and number where it has none.
        alias: `champion` or `challenger`.
        effect: Advantage over the champion before it, in the unit of the first objective's test metric; None without
            a comparison.
        test_metrics: Metrics of the test split and of every extra test set.
        passed: Whether the trial is champion now.
        reasons: The reasons for that, one sentence each.
        version: Number of the version of the registered model.
        model_uri: The URI for `mlflow.pyfunc.load_model`.
        paired: The comparison with the champion on the same sentences, with its interval, one line each; empty where
            there is no champion on the same data. It does not decide.
        headline: The few numbers that the verdict rests on, one line each.
        warning: What speaks against promoting now, such as trials to come; None: nothing.
        details: Where the other metrics are.
    """

    run_id: str
    alias: str
    effect: float | None
    test_metrics: Mapping[str, float]
    passed: bool
    reasons: tuple[str, ...]
    version: str
    model_uri: str
    paired: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    warning: str | None = None
    details: str = ""


def promote(
    paths: StudyPaths,
    *,
    tracker: Tracker | None = None,
    registered_name: str = "t5vqvae",
    alias: str = CHAMPION,
    gates: Sequence[Gate] = (),
    replace: bool = False,
    copies: StudyCopies | None = None,
) -> Promotion:
    """Registers the best trial of a study; it gets the alias if it beats the version that holds it.

    Args:
        paths: The study's files.
        tracker: The study's tracker; None: the one that its spec names.
        registered_name: Name of the registered model.
        alias: Alias of the best version.
        gates: Bounds on test metrics, in addition to the study's constraints.
        copies: Where the study was fetched from; the trial's test is copied there, else to its spec's address.
        replace: Move the alias even if the champion is better or was tested on other data; gates still count.

    Raises:
        UserError: If no trial can be promoted, a gate is on a metric that its test does not measure, or another
            promotion of this state folder to the same name is under way.
        TrackingError: If the server cannot be reached.
    """
    lock = paths.state / "promotions" / f"{registered_name}.lock"
    with held(lock, f"a promotion to {registered_name} is under way", "wait for it; both would move its aliases"):
        return _promote(paths, tracker, registered_name, alias, gates, replace, copies)


def _promote(
    paths: StudyPaths,
    tracker: Tracker | None,
    registered_name: str,
    alias: str,
    gates: Sequence[Gate],
    replace: bool,
    copies: StudyCopies | None,
) -> Promotion:
    """Does what `promote` says, under its lock."""
    spec, record = best_trial(paths)
    tracker = tracker or tracker_of(spec, paths)
    tests = test_sets_of(paths, spec, record)
    refuse_unmeasured(gates, record.metrics, tests)
    with stage("connecting to MLflow"):
        tracker.check()
    warning = _warned(paths, spec)
    _send_last_entries(paths, tracker)
    if copies is not None:
        fetch_checkpoint(copies, record)
    weights = kept_checkpoint(paths, record)
    result = test_once(paths, spec, record, weights)
    _copy_test(copies or StudyCopies.of(spec, paths), paths.trial(record.number))
    metrics = {**record.metrics, **result.metrics}
    with stage("registering the model"):
        sentences = paths.trial(record.number) / SENTENCES_FILE
        version = registered(tracker, registered_name, spec, record, result, weights, sentences)
    registry = tracker.registry(registered_name)
    champion = registry.by_alias(alias)
    failed = refusals([*map(Gate.of_constraint, spec.constraints), *gates], metrics)
    effect, beats, reason = compare(spec, metrics, result, champion, version)
    passed = not failed and (beats or replace)
    paired = compare_sentences(tracker, registry, spec, result, champion, version, paths.state)
    awarded = _awarded(registry, alias, version, champion, passed)
    uri = f"models:/{registered_name}@{awarded}"
    return Promotion(
        run_id=result.identity,
        alias=awarded,
        effect=effect,
        test_metrics=result.metrics,
        passed=passed,
        reasons=(*failed, reason),
        paired=paired.lines,
        version=version.version,
        model_uri=uri,
        headline=tuple(headline(spec, metrics, tests, gates)),
        warning=warning,
        details=tracker.url(version.mlflow_id) or str(paths.trial(record.number) / TEST_FILE),
    )


def _warned(paths: StudyPaths, spec: SearchSpec) -> str | None:
    """Warns of trials that are still to come, and returns the warning."""
    warning = still_to_come(paths, spec)
    if warning is not None:
        logger.warning(warning)
    return warning


def _send_last_entries(paths: StudyPaths, tracker: Tracker) -> None:
    with stage("sending the study's last entries to MLflow"):
        for folder in (paths.root, paths.trials):
            tracker.replay(folder)


def _copy_test(copies: StudyCopies | None, trial: Path) -> None:
    """Copies the test of a trial to the study's address, if it has one."""
    if copies is not None:
        copies.add(file for file in (trial / TEST_FILE, trial / SENTENCES_FILE) if file.is_file())


def _awarded(registry: Registry, alias: str, version: Version, champion: Version | None, passed: bool) -> str:
    """Gives a version its alias, and returns that alias."""
    if passed:
        registry.point(alias, version.version)
        if same(registry.by_alias(CHALLENGER), version):
            registry.point(CHALLENGER, None)
    elif not same(champion, version):
        registry.point(CHALLENGER, version.version)
    return alias if passed or same(champion, version) else CHALLENGER


def shown(outcome: Promotion) -> list[str]:
    """Returns a promotion as lines for the terminal."""
    head = f"run {outcome.run_id} is version {outcome.version}, alias {outcome.alias}"
    lines = [*outcome.reasons, *outcome.paired, *outcome.headline, *([outcome.warning] if outcome.warning else [])]
    return [
        head,
        *(f"  {line}" for line in lines),
        f'load it: mlflow.pyfunc.load_model("{outcome.model_uri}")',
        f"all {len(outcome.test_metrics)} metrics: {outcome.details}",
    ]
