"""The best trial of a study, tested once on the test split."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError, DataError
from t5vqvae.evaluation.scored_sentences import ScoredSentence
from t5vqvae.files import read_mapping, write_json
from t5vqvae.stages import stage
from t5vqvae.training.threads import free_threads, use_threads
from tune.promotion.sentence_scores import SENTENCES_FILE, KeptScores, artifact_digest
from tune.records.loading import loaded_model
from tune.records.models import FoundModel, best_record
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, trial_key
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


def best_trial(paths: StudyPaths) -> tuple[SearchSpec, TrialRecord]:
    """Returns a study and its best trial.

    Raises:
        UserError: If there is no such study, or no trial of it counts.
    """
    spec = SearchSpec.read(StudyPaths.existing(paths.state, paths.study).spec)
    return spec, best_record(paths, spec)


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
    from t5vqvae.data.prepare import prepare, test_strings

    run = spec.run_spec(record.overrides)
    identity = record.run_id or trial_key(record.study, record.number)
    with stage("preparing the data"):
        data = prepare(run.data, paths.cache, backbone=run.model.backbone).fingerprint
        strings = test_strings(run.data, paths.cache, backbone=run.model.backbone)
    file = paths.trial(record.number) / TEST_FILE
    known = _known(file)
    if known is not None and (known.identity, known.data_fingerprint) == (identity, data):
        return replace(known, test_strings=strings)
    threads = free_threads()
    use_threads(threads)
    found = _evaluate(run, folder, paths.cache)
    scores = KeptScores(
        artifact_digest(folder / "model"), data, f"trial {record.number} of study {record.study}", found.sentences
    )
    scores.write(paths.trial(record.number) / SENTENCES_FILE)
    result = TestResult(identity, data, found.metrics, strings, threads)
    write_json(file, vars(result), indent=1)
    return result


def score_again(found: FoundModel, data: str, cache: Path) -> KeptScores:
    """Returns the scores of each sentence of the test split, for a model whose test kept none.

    Args:
        found: The model.
        data: Fingerprint of the data that it was tested on.
        cache: Cache of prepared data.

    Raises:
        DataError: If its corpus has changed.
    """
    from t5vqvae.data import prepare

    run = found.spec
    with stage("preparing the data"):
        present = prepare(run.data, cache, backbone=run.model.backbone).fingerprint
    if present != data:
        raise DataError(
            f"{found.origin} was tested on data {data[:12]}, its corpus gives {present[:12]} now; restore it"
        )
    use_threads(free_threads())
    return KeptScores(artifact_digest(found.folder), data, found.origin, _score(run, found.folder, cache))


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


def _evaluate(run: RunSpec, folder: Path, cache: Path) -> FinalTest:
    from t5vqvae.evaluation.final_test import evaluate_test

    return evaluate_test(loaded_model(folder / "model"), run, cache)


def _score(run: RunSpec, model: Path, cache: Path) -> Sequence[ScoredSentence]:
    from t5vqvae.evaluation.final_test import sentences_of_test

    return sentences_of_test(loaded_model(model), run, cache)
