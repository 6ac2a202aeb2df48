"""The best trial of a study, tested once on the test split."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError
from t5vqvae.files import read_mapping, write_json
from t5vqvae.stages import stage
from t5vqvae.training.threads import free_threads, use_threads
from tune.promotion.sentence_scores import SENTENCES_FILE, KeptScores, artifact_digest
from tune.records.fresh_runs import folder_of, key_of, said
from tune.records.loading import loaded_model
from tune.records.models import best_record
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.evaluation.final_test import FinalTest
    from t5vqvae.spec.run import RunSpec

TEST_FILE = "test.json"


@dataclass(frozen=True)
class TestResult:
    """The metrics of a trial on the test split, with the identities of the trial and of its data."""

    __test__ = False  # no test class, whatever its name

    identity: str
    data_fingerprint: str
    metrics: Mapping[str, float]
    test_strings: str | None = None
    """Hash of the raw strings of the test split; None where an earlier version tested it."""
    threads: int | None = None
    """Threads with which it was tested; they decide in which order floats are added."""
    half: bool = False
    """Whether half of every test set was left out, because promotions are decided by it."""
    artifact: str | None = None
    """Hash of the weights that were tested; None where an earlier version tested them."""
    measures: Mapping[str, int] = field(default_factory=dict)
    """Versions of what was measured; see `RunSpec.versions_of_measures`."""

    @property
    def scored(self) -> str:
        """Names the sentences of the test: the fingerprint of the data, and whether they are half of its test split."""
        return f"{self.data_fingerprint}-half" if self.half else self.data_fingerprint


def best_trial(paths: StudyPaths) -> tuple[SearchSpec, TrialRecord]:
    """Returns a study and its best trial.

    Raises:
        UserError: If there is no such study, or no trial of it counts.
    """
    spec = SearchSpec.read(StudyPaths.existing(paths.state, paths.study).spec)
    return spec, best_record(paths, spec)


def identity_of(record: TrialRecord) -> str:
    """Returns the identity of a trial, by which its version is found."""
    return record.run_id or key_of(record)


def test_sets_of(paths: StudyPaths, spec: SearchSpec, record: TrialRecord) -> list[str]:
    """Returns the names of the test sets of a trial's corpus."""
    from t5vqvae.evaluation.final_test import test_sets

    with stage("preparing the data"):
        return test_sets(spec.run_spec(record.overrides), paths.cache)


def still_to_come(paths: StudyPaths, spec: SearchSpec) -> str | None:
    """Returns a warning that a study has not ended, so that a better trial may follow; None when it has ended."""
    ended, planned = len(read_records(paths.trials)), spec.planned_trials
    if ended >= planned:
        return None
    running = paths.is_locked()
    what = f"{planned - ended} of the {planned} trials of study {paths.study} are still to come"
    then = "it is running, and a better one may follow: promote again then" if running else "the same search resumes it"
    return f"{what}; {then}"


def test_once(paths: StudyPaths, spec: SearchSpec, record: TrialRecord, folder: Path) -> TestResult:
    """Returns a trial's test metrics, from its folder or, for the first promotion, evaluated now."""
    from t5vqvae.data.gate_split import kind_of_gate
    from t5vqvae.data.prepare import prepare, test_strings

    run = spec.run_spec(record.overrides)
    identity = identity_of(record)
    with stage("preparing the data"):
        data = prepare(run.data, paths.cache, backbone=run.model.backbone).fingerprint
        strings = test_strings(run.data, paths.cache, backbone=run.model.backbone)
    file, half = folder_of(paths, record) / TEST_FILE, kind_of_gate(run.data) == "half"
    known, artifact = _known(file), artifact_digest(folder / "model")
    measures = run.versions_of_measures()
    now = identity, data, half, artifact, measures
    if known is not None and now == (
        known.identity,
        known.data_fingerprint,
        known.half,
        known.artifact or artifact,
        known.measures,
    ):
        return replace(known, test_strings=strings)
    threads = free_threads()
    use_threads(threads)
    found = _evaluate(run, folder, paths.cache, half)
    result = TestResult(identity, data, found.metrics, strings, threads, half, artifact, measures)
    scores = KeptScores(artifact, result.scored, said(record), found.sentences)
    scores.write(file.with_name(SENTENCES_FILE))
    write_json(file, vars(result), indent=1)
    return result


def _known(file: Path) -> TestResult | None:
    """Returns the result of an earlier test; None if there is none, or its file is damaged: then it is tested again."""
    try:
        values = read_mapping(file, "tested again")
        return TestResult(**{**values, "metrics": dict(values["metrics"])})
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        print(error, file=sys.stderr)
    except (KeyError, TypeError, ValueError):
        print(f"{file} is damaged: it is no test result; tested again", file=sys.stderr)
    return None


test_once.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise


def _evaluate(run: RunSpec, folder: Path, cache: Path, half: bool) -> FinalTest:
    from t5vqvae.evaluation.final_test import evaluate_test

    return evaluate_test(loaded_model(folder / "model"), run, cache, half=half)
