"""The best trial of a study, tested once on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5vqvae.files import read_json, write_json
from tune.records.models import best_record
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths, trial_key
from tune.spec.search_spec import SearchSpec

TEST_FILE = "test.json"


@dataclass(frozen=True)
class TestResult:
    """The metrics of a trial on the test split, with the identities of the trial and of its data."""

    __test__ = False  # no test class, whatever its name

    identity: str
    data_fingerprint: str
    metrics: Mapping[str, float]


def best_trial(paths: StudyPaths) -> tuple[SearchSpec, TrialRecord]:
    """Returns a study and its best trial.

    Raises:
        UserError: If there is no such study, or no trial of it counts.
    """
    spec = SearchSpec.read(StudyPaths.existing(paths.state, paths.study).spec)
    return spec, best_record(paths, spec)


def test_once(paths: StudyPaths, spec: SearchSpec, record: TrialRecord, folder: Path) -> TestResult:
    """Returns a trial's test metrics, from its folder or, for the first promotion, evaluated now."""
    from t5vqvae.data import prepare

    run = spec.run_spec(record.overrides)
    identity = record.run_id or trial_key(record.study, record.number)
    data = prepare(run.data, paths.cache, backbone=run.model.backbone).fingerprint
    file = paths.trial(record.number) / TEST_FILE
    if file.exists():
        known = TestResult(**read_json(file))
        if (known.identity, known.data_fingerprint) == (identity, data):
            return known
    result = TestResult(identity, data, _evaluate(run, folder, paths.cache))
    write_json(file, vars(result), indent=1)
    return result


test_once.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise


def _evaluate(run: Any, folder: Path, cache: Path) -> dict[str, float]:
    from t5vqvae.evaluation.evaluate import evaluate_test
    from t5vqvae.models.contract import load_model
    from t5vqvae.training.device import choose_device

    model = load_model(folder / "model").to(choose_device(run))
    return evaluate_test(model, run, cache)
