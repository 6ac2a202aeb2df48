"""Promotion: a study's best trial becomes a version of the registered model, and champion if it beats the present one.

    t5vqvae promote STUDY [--gate "test/exact_match >= 0.5"] [--replace] [--name t5vqvae] [--state DIR]

Best is decided on the validation split, among completed trials with a bottleneck that keep the study's constraints. The
test split is evaluated once for a trial; its numbers are kept beside the checkpoint and used again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae import checkpoint
from t5vqvae.data.files import written_whole
from t5vqvae.errors import UserError
from tune.exits import exit_status
from tune.gate import Gate, compared, on_test, refusals
from tune.search import tracker_of
from tune.state import StudyPaths, state_dir
from tune.study import SearchSpec, TrialRecord, best, read_records

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.registry import Version

CHAMPION, CHALLENGER = "champion", "challenger"
METRICS, DATA = "t5vqvae.test_metrics", "t5vqvae.data_fingerprint"
TEST_FILE = "test.json"


@dataclass(frozen=True)
class TestResult:
    """A trial on the test split: which trial, on which data, how well."""

    __test__ = False  # no test class, whatever its name

    identity: str
    data_fingerprint: str
    metrics: Mapping[str, float]


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
    version = _registered(tracker, registered_name, spec, record, result, weights)
    registry = tracker.registry(registered_name)
    holder = registry.holder(alias)
    shut = refusals([*map(Gate.of_constraint, spec.constraints), *gates], metrics)
    effect, beats, reason = compare(spec, metrics, result, holder, version)
    passed = not shut and (beats or replace)
    if passed:
        registry.point(alias, version.version)
        if _same(registry.holder(CHALLENGER), version):
            registry.point(CHALLENGER, None)
    elif not _same(holder, version):
        registry.point(CHALLENGER, version.version)
    held = alias if passed or _same(holder, version) else CHALLENGER
    uri = f"models:/{registered_name}@{held}"
    return Promotion(result.identity, held, effect, result.metrics, passed, (*shut, reason), version.version, uri)


def best_trial(paths: StudyPaths) -> tuple[SearchSpec, TrialRecord]:
    """Returns a study and its best trial.

    Raises:
        UserError: If there is no such study, or no trial of it counts.
    """
    if not paths.spec.exists():
        raise UserError(f"no study {paths.study} under {paths.state / 'studies'}; search it first, or give --state")
    spec = SearchSpec.read(paths.spec)
    records = read_records(paths.trials)
    record = best(records, spec)
    if record is None:
        completed = sum(record.status == "completed" for record in records)
        raise UserError(
            f"study {paths.study}: none of its {completed} completed trials has a bottleneck and keeps"
            f" {', '.join(map(str, spec.constraints)) or 'the objective'}; search on, or loosen the constraints"
        )
    return spec, record


def kept_checkpoint(paths: StudyPaths, record: TrialRecord) -> Path:
    """Returns a trial's checkpoint.

    Raises:
        UserError: If it is gone.
    """
    found = Path(record.checkpoint) if record.checkpoint else None
    if found is None or not found.is_dir():
        found = checkpoint.latest(paths.trial(record.number))
    if found is None:
        raise UserError(f"trial {record.number} of {paths.study} has no checkpoint left; raise retention.keep_best")
    checkpoint.verify(found)
    return found


def test_once(paths: StudyPaths, spec: SearchSpec, record: TrialRecord, folder: Path) -> TestResult:
    """Returns a trial's test metrics, evaluated now or found where an earlier promotion left them."""
    from t5vqvae.data import prepare

    run = spec.run_spec(record.overrides)
    identity = record.run_id or _key(record)
    data = prepare(run.data, paths.cache, backbone=getattr(run.model, "backbone", None)).fingerprint
    file = paths.trial(record.number) / TEST_FILE
    if file.exists():
        known = TestResult(**json.loads(file.read_text()))
        if (known.identity, known.data_fingerprint) == (identity, data):
            return known
    result = TestResult(identity, data, _evaluate(run, folder, paths.cache))
    with written_whole(file) as scratch:
        scratch.write_text(json.dumps(vars(result), indent=1))
    return result


test_once.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise


def _evaluate(run: Any, folder: Path, cache: Path) -> dict[str, float]:
    from t5vqvae.evaluate import evaluate_test
    from t5vqvae.model import load_model
    from t5vqvae.train import choose_device

    model = load_model(folder / "model").to(choose_device(run))
    return evaluate_test(model, run, cache)


def _registered(
    tracker: Tracker, name: str, spec: SearchSpec, record: TrialRecord, result: TestResult, folder: Path
) -> Version:
    """Returns the version that holds a trial, registered now or before."""
    registry = tracker.registry(name)
    known = registry.find(result.identity)
    if known is not None and known.tags.get(DATA) == result.data_fingerprint:
        return known
    mlflow_id = record.mlflow_id or tracker.find_trial(_key(record)) or _tracked(tracker, spec, record)
    model_uri = tracker.log_model(mlflow_id, folder)
    tracker.add_final(mlflow_id, result.metrics, model_uri)
    tags = {
        "study": spec.name,
        "trial": record.number,
        DATA: result.data_fingerprint,
        METRICS: json.dumps({**record.metrics, **result.metrics}),
        **{f"test.{key}": f"{value:.6g}" for key, value in _headline(spec, record, result).items()},
    }
    settings = ", ".join(f"{path}={value}" for path, value in record.overrides.items())
    description = f"Trial {record.number} of study {spec.name}: {settings}"
    return registry.register(model_uri, mlflow_id, result.identity, tags, description)


def _headline(spec: SearchSpec, record: TrialRecord, result: TestResult) -> dict[str, float]:
    """Returns the test metrics that a version's page shows: the objectives and the rate."""
    metrics = {**record.metrics, **result.metrics}
    names = [on_test(objective.metric) for objective in spec.objectives] + ["test/rate/bits_per_token"]
    return {name: metrics[name] for name in names if name in metrics}


def _tracked(tracker: Tracker, spec: SearchSpec, record: TrialRecord) -> str:
    """Returns the MLflow id of a trial that MLflow has not heard of, since its server was away."""
    parent = tracker.open_study(spec.as_flat_dict(), {"t5vqvae.study": spec.name})
    tracker.close(parent, "completed")
    key = _key(record)
    params = spec.run_spec(record.overrides).as_flat_dict()
    mlflow_id = tracker.open_trial(parent, key, key, params, {"t5vqvae.study": spec.name, "run_id": record.run_id})
    tracker.close(mlflow_id, record.status, record.tags)
    return mlflow_id


def _key(record: TrialRecord) -> str:
    return f"{record.study}/{record.number:05d}"


def compare(
    spec: SearchSpec, metrics: Mapping[str, float], result: TestResult, holder: Version | None, version: Version
) -> tuple[float | None, bool, str]:
    """Returns the advantage over the alias's holder, whether it suffices, and the reason in a sentence."""
    if holder is None:
        return None, True, "no version held the alias"
    if _same(holder, version):
        return None, True, f"version {version.version} holds the alias already"
    if holder.tags.get(DATA) != result.data_fingerprint:
        return None, False, f"version {holder.version} was tested on other data, so the two cannot be compared"
    theirs = json.loads(holder.tags.get(METRICS, "{}"))
    effect, sentence = compared(spec.objectives[0], metrics, theirs, f"version {holder.version}")
    return effect, effect is not None and effect > 0, sentence


def _same(one: Version | None, other: Version) -> bool:
    return one is not None and one.version == other.version


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
