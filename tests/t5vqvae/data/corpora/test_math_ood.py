"""Twins measure what their test sets measure, with nothing of them; harder tests have no twin."""

from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path

import pytest

from t5vqvae.data import DataConfig, GrammarCorpus, MathCorpus, TokenizerConfig, prepare, prepare_test
from t5vqvae.data.corpora.corpus import Corpus
from t5vqvae.data.corpora.expressions import all_starts
from t5vqvae.data.corpora.math_ood import RESERVED, SCRIPTS, TWIN_NAMES, TWIN_RELATIONS, UNSEEN_RELATIONS, gate_ood
from t5vqvae.data.corpora.math_problem import split_of
from t5vqvae.errors import SettingError

MATH = MathCorpus(size=300, validation_size=40, test_size=30)
SYMBOL = re.compile(r"\\[A-Za-z]+|[<=>]|[^\x00-\x7f]")
HARDER = set(MATH.harder_names)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return MATH.load(tmp_path_factory.mktemp("cache"))


def symbols(texts: object) -> set[str]:
    return {symbol for e in texts for symbol in SYMBOL.findall(e.source)}  # type: ignore[attr-defined]


def test_twins_share_no_string_with_any_split_and_their_own_symbols_with_no_test(corpus: Corpus) -> None:
    twins = MATH.twins(corpus, 20)
    assert {name: len(found) for name, found in twins.items()} == dict.fromkeys(("VAR", "EASY", "EQ", "LEN"), 20)
    tested = {e.source for found in corpus.splits.values() for e in found}
    drawn = [e.source for found in twins.values() for e in found]
    assert len(set(drawn)) == len(drawn) and not set(drawn) & tested
    seen, new = symbols(corpus.train), {name: symbols(found) for name, found in twins.items()}
    assert new["VAR"] - seen <= {f"\\{name}" for name in TWIN_NAMES} and new["VAR"] - seen
    assert new["EQ"] - seen == set(TWIN_RELATIONS) and not new["LEN"] - seen
    for name in ("VAR", "EQ"):
        assert not (new[name] - seen) & symbols(itertools.chain(*corpus.extra_tests.values()))
    assert all(split_of(e.source, MATH.seed) == "validation" for e in twins["LEN"])
    assert all(e.source.startswith(r"\frac{") for e in twins["EASY"])


def test_harder_tests_share_no_symbol_with_a_twin_or_a_smaller_test(corpus: Corpus) -> None:
    harder = MATH.harder_tests(corpus, 5)
    assert harder.keys() == HARDER and all(len(found) == 5 for found in harder.values())
    known = symbols(itertools.chain(*corpus.splits.values(), *MATH.twins(corpus, 20).values()))
    own = symbols(itertools.chain(*harder.values())) - known
    assert own <= {*UNSEEN_RELATIONS, *"".join(SCRIPTS.values())} and own
    assert {*symbols(harder["REL"])} & {*TWIN_RELATIONS, "="} == set()
    assert own | {"=", r"\alpha", *TWIN_RELATIONS} <= set(SYMBOL.findall(RESERVED))


def test_a_split_of_twins_reaches_training_and_a_harder_test_only_the_test(tmp_path: Path) -> None:
    open_vocabulary = TokenizerConfig(open_vocabulary=True)  # a closed one spells no other script
    config = DataConfig(corpus=MATH, ood=5, harder=5, tokenizer=open_vocabulary)
    data = prepare(config, tmp_path)
    assert {name: len(split) for name, split in data.twins.items()} == dict.fromkeys(("VAR", "EASY", "EQ", "LEN"), 5)
    tests = prepare_test(config, tmp_path)
    assert set(tests) >= HARDER | {"test", "VAR"} and not any(name.startswith("validation") for name in tests)
    plain = prepare(DataConfig(corpus=MATH, tokenizer=open_vocabulary), tmp_path)
    assert plain.twins == {} and plain.train.sources([3]) == data.train.sources([3])


def test_a_twin_without_a_sentence_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = MathCorpus(size=60, validation_size=30, test_size=100, easy_kind="cos")
    with caplog.at_level(logging.WARNING):
        twins = config.twins(config.load(tmp_path), 10)
    assert {name: len(found) for name, found in twins.items()} == {"VAR": 10, "EASY": 0, "EQ": 10, "LEN": 10}
    (said,) = (each.getMessage() for each in caplog.records)
    assert said.startswith("the twin of EASY has 0 sentences, and data.ood=10 asks for more") and "leave it out" in said


def test_a_corpus_without_such_sets_refuses_them(tmp_path: Path) -> None:
    grammar = GrammarCorpus(size=60, validation_size=10, test_size=10)
    for setting in ("ood", "harder"):
        with pytest.raises(SettingError, match=rf"data.{setting}=3 needs a corpus with .* such as math; set it to 0"):
            prepare(DataConfig(corpus=grammar).with_overrides({setting: 3}), tmp_path)


def test_a_set_that_decides_with_fewer_sentences_than_asked_for_is_named(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = all_starts(MATH.easy_kind)[:8]
    with caplog.at_level(logging.WARNING):
        found = gate_ood(MATH._asked, corpus, few, MATH.gate(tmp_path), 12)
    assert len(found["EASY"]) <= 8 and len(found["EQ"]) == 12
    assert "EASY of the sentences that decide a promotion has" in caplog.text and "EQ of the" not in caplog.text
