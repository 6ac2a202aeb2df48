"""Two versions on the same sentences: a claim with its interval, from scores that were kept or measured again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from promotions import TINY, add_trial

from t5vqvae.evaluation.scored_sentences import ScoredSentence
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.model_registry import Registry, Version
from tune.analysis import compare_ratios
from tune.promote import Promotion, promote, shown
from tune.promotion import candidate as module
from tune.promotion.paired import ARTIFACT, VersionScores, paired
from tune.promotion.sentence_scores import SENTENCES_FILE, KeptScores
from tune.records.study_paths import StudyPaths
from tune.spec.objective import Objective

ROW = ScoredSentence(0, 6.0, 3, 1, 12, False, "x + y", "x + x")
KEPT = KeptScores("a" * 64, "d" * 64, "trial 0 of study tiny", [ROW, replace(ROW, index=1, nll=2.0, exact=True)])

VERSION = Version("1", "", {})


@pytest.fixture
def two_trials(paths: StudyPaths) -> StudyPaths:
    """A study whose first trial is champion and better on test; its second one seems better on validation."""
    add_trial(paths, 0, nll=1.0, source="other")
    promote(paths)
    add_trial(paths, 1, nll=0.5)
    return paths


def registry_of(paths: StudyPaths) -> Registry:
    return Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae")


def forget_scores(paths: StudyPaths, version: str) -> None:
    """Makes a version what it was before scores of sentences were kept."""
    registry = registry_of(paths)
    registry.destination.client.delete_model_version_tag("t5vqvae", version, ARTIFACT)


def test_a_file_of_scores_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    file = KEPT.write(tmp_path / SENTENCES_FILE)
    assert KeptScores.read(file) == KEPT
    assert KeptScores.read(tmp_path / "other.parquet") is None
    whole = file.read_bytes()
    place = whole.index(b"x + x")
    for damaged in (whole[:-9], whole[:place] + b"x + z" + whole[place + 5 :], b""):
        file.write_bytes(damaged)
        assert KeptScores.read(file) is None


def test_numerators_and_denominators_are_those_of_the_metric() -> None:
    assert KEPT.ratio("test/nll") == ([6.0, 2.0], [3.0, 3.0])
    assert KEPT.ratio("test/nll_per_char") == ([6.0, 2.0], [12.0, 12.0])
    assert KEPT.ratio("test/token_accuracy") == ([1.0, 1.0], [3.0, 3.0])
    assert KEPT.ratio("test/exact_match") == ([0.0, 1.0], [1.0, 1.0])
    assert KEPT.ratio("test/bleu1") == ([pytest.approx(2 / 3)] * 2, [1.0, 1.0]), "x, + of x + y; the second x is none"


def test_a_promotion_compares_with_the_champion_on_the_same_sentences(two_trials: StudyPaths) -> None:
    outcome = promote(two_trials)
    sides = [KeptScores.read(two_trials.trial(number) / SENTENCES_FILE) for number in (1, 0)]
    assert all(side is not None for side in sides)
    expected = compare_ratios(sides[0].ratio("test/nll"), sides[1].ratio("test/nll"))
    assert outcome.effect == pytest.approx(-expected.difference, rel=1e-4), (
        "the verdict's numbers, sentence by sentence"
    )
    names = [f"version {n} ({side.artifact[:12]})" for n, side in zip("21", sides, strict=True)]
    (line,) = outcome.paired
    assert line.startswith(f"{names[0]} is worse than {names[1]}: test/nll")
    assert f"[{expected.low:+.3g}, {expected.high:+.3g}], p = {expected.p_value:.3g}" in line
    assert shown(outcome).index(f"  {line}") == 1 + len(outcome.reasons), "next to the verdict"
    tags = registry_of(two_trials).versions()["2"].tags
    assert (tags["paired.against"], tags["paired.metric"]) == (names[1], "test/nll")
    assert float(tags["paired.low"]) == pytest.approx(expected.low, rel=1e-4)
    only_test = TINY["data.corpus.test_size"]
    assert int(tags["paired.sentences"]) == expected.num_sentences == len(sides[0].sentences) == only_test


def test_a_champion_that_kept_no_scores_is_tested_again_once_and_said_so(
    two_trials: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = promote(two_trials).paired
    forget_scores(two_trials, "1")
    assert promote(two_trials).paired == (line, "version 1 kept no scores of its sentences: it was tested again")
    monkeypatch.setattr(module, "_score", lambda *_: pytest.fail("it was tested a third time"))
    assert promote(two_trials).paired == (line,)
    assert promote(two_trials, replace=True).paired == (line,)
    assert promote(two_trials).paired == (), "it is champion itself"


def test_a_champion_that_cannot_be_tested_again_leaves_the_verdict_as_it_is(
    two_trials: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = promote(two_trials)
    forget_scores(two_trials, "1")
    broken = lambda *_: (_ for _ in ()).throw(RuntimeError("size mismatch\nfor x"))  # noqa: E731
    monkeypatch.setattr("t5vqvae.models.contract.load_model", broken)
    outcome = promote(two_trials)
    assert verdict(outcome) == verdict(whole)
    (line,) = outcome.paired
    assert line.startswith("no paired interval: ") and "size mismatch; " in line


def verdict(outcome: Promotion) -> tuple[object, ...]:
    return outcome.alias, outcome.effect, outcome.passed, outcome.reasons


def test_what_sums_over_no_sentences_has_no_interval(paths: StudyPaths) -> None:
    found = VersionScores(None, None, "", paths.state)  # type: ignore[arg-type]  # nothing is asked of them
    objective = Objective.parse({"metric": "codebook/usage"})
    assert paired(found, objective, None, None).lines == (  # type: ignore[arg-type]
        "no paired interval: test/codebook/usage is no sum over sentences",
    )


def test_other_data_is_said_once_and_nothing_is_compared(two_trials: StudyPaths) -> None:
    client = registry_of(two_trials).destination.client
    client.set_model_version_tag("t5vqvae", "1", "t5vqvae.data_fingerprint", "other")
    client.set_model_version_tag("t5vqvae", "1", "t5vqvae.test_strings", "other")
    outcome = promote(two_trials)
    assert outcome.paired == ()
    assert outcome.reasons == ("version 1 was tested on other data, so the two cannot be compared",)


def test_other_sentences_and_sentences_without_a_weight_are_said(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, other = replace(ROW, chars=0), replace(ROW, reference="x")
    sides = {"1": [ROW], "2": [other], "3": [empty], "4": []}

    def said(one: str, two: str) -> str:
        versions = [replace(VERSION, version=number) for number in (one, two)]
        monkeypatch.setattr(
            VersionScores, "of", lambda self, version: (replace(KEPT, sentences=sides[version.version]), ())
        )
        found = VersionScores(None, None, "", paths.state)  # type: ignore[arg-type]
        return paired(found, Objective.parse({"metric": "validation/nll_per_char"}), *versions).lines[0]

    assert said("1", "2").endswith("1 and 1 sentences were scored, and they are not the same")
    assert said("3", "3").endswith("a sentence has nothing that test/nll_per_char counts")
    assert said("4", "4").endswith("the test split has no sentence")
