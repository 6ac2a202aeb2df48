"""`evaluate` repeats what training recorded; `compare` shows the sentences that two models decode differently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from promotions import TINY, save_checkpoint
from typer.testing import CliRunner, Result

from t5vqvae.data.texts import same_text
from t5vqvae.errors import DataError, SettingError
from t5vqvae.evaluation.scored_sentences import ScoredSentence
from t5vqvae.spec.run import RunSpec
from tune.analysis import compare_ratios
from tune.cli import app
from tune.promotion.on_validation import ValidationResult, compare_on_validation
from tune.promotion.two_settings import compare_settings_on_validation, paired_by_seed
from tune.records.models import FoundModel


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the checkpoints of two runs, and of one on another corpus."""
    folder = tmp_path_factory.mktemp("models")
    save_checkpoint(folder, "a")
    save_checkpoint(folder, "b", **{"optim.learning_rate": 0.1})
    save_checkpoint(folder, "other", **{"data.corpus.seed": 5})
    save_checkpoint(folder, "a1", seed=1)
    save_checkpoint(folder, "b1", seed=1, **{"optim.learning_rate": 0.2})
    return folder


def run(state: Path, command: str, *words: str) -> Result:
    named = [str(next((state / word).glob("step-*"))) if (state / word).is_dir() else word for word in words]
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [command, *named, "--state", str(state)])


def rows(state: Path, *words: str) -> list[dict[str, Any]]:
    done = run(state, *words, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_an_evaluation_repeats_what_the_training_recorded(state: Path) -> None:
    found = {row["metric"]: row for row in rows(state, "evaluate", "a")}
    measured = {name for name, row in found.items() if row["recorded"] is not None}
    assert {"validation/nll", "validation/bleu", "rate/joint_bits_per_token", "codebook/usage"} <= measured
    for name in measured:
        assert found[name]["value"] == pytest.approx(found[name]["recorded"], rel=1e-4, abs=1e-6), name
    assert found["validation/nll"]["unit"] == "nats a token"


def test_settings_of_an_evaluation_can_be_changed_and_no_others(state: Path) -> None:
    few = {row["metric"]: row["value"] for row in rows(state, "evaluate", "a", "evaluate.num_examples=4")}
    all_of_it = {row["metric"]: row["value"] for row in rows(state, "evaluate", "a")}
    assert few["validation/nll"] != all_of_it["validation/nll"]
    for word, said in (
        ("train.max_steps=3", "train.max_steps is what the model was trained with"),
        ("evaluate.num_exmples=3", "did you mean evaluate.num_examples?"),
        ("evaluate.num_examples=0", "evaluate.num_examples=0"),
        ("word", "'word'"),
    ):
        done = run(state, "evaluate", "a", word)
        assert done.exit_code == 2 and done.output.count("\n") == 1 and said in done.output, done.output


def test_the_sentences_that_differ_are_shown_with_what_is_not_in_the_target(state: Path) -> None:
    found = rows(state, "compare", "a", "b", "--sentences", "20", "--most", "100")
    triples = [found[place : place + 3] for place in range(0, len(found), 3)]
    assert triples
    for target, a, b in triples:
        assert [row["model"] for row in (target, a, b)] == ["target", "A", "B"]
        assert not same_text(str(a["text"]), str(b["text"]))
        assert a["exact"] is same_text(str(a["text"]), str(target["text"]))
    shown = run(state, "compare", "a", "b", "--sentences", "20", "--most", "2").stdout
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert f"{len(triples)} of 20 sentences differ" in words and "--most N prints more" in words
    assert "nll_per_char: A " in words


def test_the_intervals_are_those_of_the_paired_bootstrap_over_the_sentences() -> None:
    a, b = result("first", [6.0, 2.0, 3.0]), result("second", [5.0, 3.0, 2.0])
    claims = {claim.metric: claim for claim in compare_on_validation(a, b)}
    wanted = compare_ratios(([6.0, 2.0, 3.0], [12.0] * 3), ([5.0, 3.0, 2.0], [12.0] * 3))
    assert claims["validation/nll_per_char"].scores == wanted
    assert claims["validation/exact_match"].scores.difference == 0
    assert claims["validation/nll"].verdict == "undecided"


def test_models_with_other_tokens_are_compared_by_characters_and_others_refused() -> None:
    a, b = result("first", [6.0, 2.0]), result("second", [5.0, 3.0])
    cut = replace(b, sentences=[replace(row, tokens=7) for row in b.sentences])
    assert {claim.metric for claim in compare_on_validation(a, cut)} == {
        "validation/exact_match",
        "validation/nll_per_char",
        "validation/bleu",
        "validation/bleu1",
    }
    other = replace(b, sentences=[replace(row, reference="z") for row in b.sentences])
    with pytest.raises(DataError, match="first and second were scored on 2 and 2 validation sentences, of which 0 are"):
        compare_on_validation(a, other)


def test_two_settings_are_compared_over_their_seeds(state: Path) -> None:
    done = run(state, "compare", "a", "a1", "b", "b1", "--sentences", "20", "--format", "json")
    found = {row["metric"]: row for row in json.loads(done.stdout)}
    assert list(found) == ["exact_match", "nll_per_char", "bleu1", "nll", "token_accuracy"], "corpus BLEU is no sum"
    of_seeds = [rows(state, "compare", *pair, "--metrics", "--sentences", "20") for pair in (("a", "b"), ("a1", "b1"))]
    for name, row in found.items():
        each = [next(row for row in one if row["metric"] == name) for one in of_seeds]
        assert [row[x] for x in "AB"] == pytest.approx([(each[0][x] + each[1][x]) / 2 for x in "AB"]), name
        assert row["low"] <= row["difference"] <= row["high"] and row["A_is"] == "undecided", "two seeds say little"
    words = " ".join(done.stderr.split())
    assert "A and B differ in optim.learning_rate" in words and "2 seeds were resampled, then 20 validation" in words
    assert "the seeds of a setting differ in optim.learning_rate, which counts as luck of the seed" in words


def test_settings_are_claimed_to_differ_where_their_seeds_agree() -> None:
    def pairs(b: list[float]) -> dict[int, tuple[ValidationResult, ValidationResult]]:
        a = [5.0, 4.0] * 4
        return {seed: (result("a", a), result("b", [each + nats for each in a])) for seed, nats in enumerate(b)}

    worse = compare_settings_on_validation(pairs([2.0, 2.1, 1.9]))["validation/nll_per_char"]
    assert worse.difference == pytest.approx(-2 / 12) and worse.verdict("minimize") == "better"
    assert worse.verdict("maximize") == "worse"
    torn = compare_settings_on_validation(pairs([8.0, -1.0, -1.0]))["validation/nll_per_char"]
    assert torn.difference == pytest.approx(-2 / 12) and torn.verdict("minimize") == "undecided"


@pytest.mark.parametrize(
    "seeds, rates, said",
    [
        ((0, 1, 0, 2), (1, 1, 2, 2), "A has the seeds 0, 1 and B 0, 2; name as many"),
        ((0, 1, 0, 1), (1, 1, 1, 1), "A and B have the same settings"),
    ],
)
def test_models_that_are_no_two_settings_are_refused(seeds: tuple[int, ...], rates: tuple[int, ...], said: str) -> None:
    spec = RunSpec().with_overrides(TINY)
    found = [
        FoundModel(Path("nowhere"), spec.with_overrides({"seed": seed, "optim.learning_rate": rate / 100}), str(i))
        for i, (seed, rate) in enumerate(zip(seeds, rates, strict=True))
    ]
    with pytest.raises(SettingError, match=said):
        paired_by_seed(found)


def result(origin: str, nats: list[float]) -> ValidationResult:
    rows = [ScoredSentence(i, nll, 3, 1, 12, False, f"x + {i}", "x + x") for i, nll in enumerate(nats)]
    return ValidationResult(FoundModel(Path("nowhere"), RunSpec().with_overrides(TINY), origin), {}, rows)


@pytest.mark.parametrize(
    "words, said",
    [
        (("compare", "a", "a"), "are one model"),
        (("compare", "a", "nosuch"), "there is no study nosuch"),
        (("compare", "a", "other"), "validation sentences, of which"),
        (("compare", "a"), "missing argument 'MODEL_B'"),
        (("compare",), "missing argument"),
        (("compare", "a", "a1", "b"), "3 models are no two settings; name as many models of the one setting"),
        (("compare", "a", "b", "a1", "b1"), "are both of setting A and of seed=0"),
        (("compare", "a", "a1", "b", "a"), "are one model"),
        (("compare", "a", "a1", "b", "other"), "are both of setting B and of seed=0"),
        (("evaluate", "nosuch/3"), "there is no study nosuch"),
        (("compare", "a", "b", "--sentences", "1"), "--sentences"),
    ],
)
def test_wrong_models_are_refused_in_one_line(state: Path, words: tuple[str, ...], said: str) -> None:
    done = run(state, *words)
    assert done.exit_code == 2 and done.output.count("\n") == 1 and said in done.output, done.output
