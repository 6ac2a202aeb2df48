from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from t5vqvae.data import GrammarCorpus
from t5vqvae.data.corpora import grammar
from t5vqvae.data.corpora.grammar import PATTERNS, WORDS, draw_sentence
from t5vqvae.errors import DataError


def test_every_word_has_a_role_of_propbank() -> None:
    rng = random.Random(0)
    for _ in range(300):
        example = draw_sentence(rng)
        assert example.roles is not None and len(example.roles) == len(example.source.split())
        assert set(example.roles) <= {"ARG0", "ARG1", "ARG2", "V", "ARGM-LOC", "ARGM-MNR", "ARGM-PRP", "ARGM-TMP"}
        assert example.roles.count("V") in (1, 2)
        assert "<" not in example.source and "_" not in example.source


def test_patterns_use_known_words_and_all_are_used() -> None:
    used = {
        word.strip("<>").rpartition(":")[2]
        for pattern in PATTERNS
        for _, phrase in pattern
        for word in phrase.split()
        if word.startswith("<")
    }
    assert used == set(WORDS)
    assert all(len(words) == len(set(words)) >= 4 for words in WORDS.values())
    assert WORDS["animal"][-1] == "wolf" and WORDS["animal"][0] == "bat"


def test_article_fits_the_word() -> None:
    rng = random.Random(1)
    text = " ".join(draw_sentence(rng).source for _ in range(500)).split()
    for article, word in itertools.pairwise(text):
        if article in ("a", "an"):
            assert (article == "an") == (word[0] in "aeiou"), (article, word)


def test_sizes_and_seed(tmp_path: Path) -> None:
    sizes = {"size": 50, "validation_size": 20, "test_size": 10}
    corpus = GrammarCorpus(**sizes).load(tmp_path)
    assert [len(examples) for examples in corpus.splits.values()] == [50, 20, 10]
    assert corpus.fingerprint != GrammarCorpus(**sizes, seed=1).load(tmp_path).fingerprint


def test_more_than_there_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "PATTERNS", [[("ARG1", "<a:body>"), ("V", "<makes>")]])
    monkeypatch.setattr(grammar, "MAX_IDLE_DRAWS", 200)
    with pytest.raises(DataError, match=r"data.corpus.size: 1003 sentences .* about 24"):
        GrammarCorpus(size=1001, validation_size=1, test_size=1).load(tmp_path)


def test_version_1_is_what_it_was_before_there_was_another(tmp_path: Path) -> None:
    first = GrammarCorpus(size=200, validation_size=50, test_size=30)
    assert first.version == 1 and first.stamp(tmp_path) == 1
    expected = "6a6ab7909c527b89ce31e798ac57f789e315711acf5534e4e7487418d89ee1d1"
    assert first.load(tmp_path).fingerprint == expected, "taken before version 2 was written"


def test_version_2_has_roles_sizes_and_a_seed(tmp_path: Path) -> None:
    sizes = {"version": 2, "size": 300, "validation_size": 50, "test_size": 30}
    corpus = GrammarCorpus(**sizes).load(tmp_path)
    assert [len(examples) for examples in corpus.splits.values()] == [300, 50, 30]
    assert all(example.roles is not None for example in corpus.train)
    assert corpus.fingerprint == GrammarCorpus(**sizes).load(tmp_path).fingerprint
    assert corpus.fingerprint != GrammarCorpus(**sizes, seed=1).load(tmp_path).fingerprint
    assert GrammarCorpus(**sizes).stamp(tmp_path) != GrammarCorpus().stamp(tmp_path)
