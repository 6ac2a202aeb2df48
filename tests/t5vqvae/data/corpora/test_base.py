from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5vqvae.data import Corpus, Example
from t5vqvae.data.corpora.corpus import drop_shared, split_by_source
from t5vqvae.data.corpora.kept_corpus import load_kept
from t5vqvae.errors import DataError

A, B, C, D = (Example(text) for text in "abcd")


def test_shared_string_is_refused_with_an_example() -> None:
    with pytest.raises(DataError, match=r"1 strings are in both the train and the test split.*'a'.*drop_shared"):
        Corpus([A, B], [C], [Example("a", "another target")])


def test_extra_tests_are_checked_too() -> None:
    with pytest.raises(DataError, match=r"train and the VAR split"):
        Corpus([A], [B], [C], {"VAR": [A]})


def test_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"validation split has no sentence"):
        Corpus([A], [])


def test_a_role_for_every_word() -> None:
    with pytest.raises(DataError, match=r"2 words but 1 roles"):
        Example("two words", roles=("V",))
    assert Example("two words", roles=("V", "ARG1")).roles == ("V", "ARG1")


@pytest.mark.parametrize(
    "other",
    [
        Corpus([B, A], [C]),
        Corpus([A], [C]),
        Corpus([A, C], [B]),
        Corpus([A, Example("b", "b")], [C]),
        Corpus([A, Example("b", roles=("V",))], [C]),
        Corpus([A, B], [C], [D]),
    ],
)
def test_fingerprint_tells_contents_apart(other: Corpus) -> None:
    one = Corpus([A, B], [C])
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == Corpus([A, B], [C], source="named differently").fingerprint


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1), st.integers(0, 5))
def test_split_by_source_keeps_equal_sources_together(texts: list[str], seed: int) -> None:
    examples = [Example(text, str(number)) for number, text in enumerate(texts)]
    parts = split_by_source(examples, (0.2, 0.3), seed)
    assert sorted(e.target or "" for part in parts for e in part) == sorted(e.target or "" for e in examples)
    sources = [{e.source for e in part} for part in parts]
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    assert [len(part) for part in sources[1:]] == [round(0.2 * len(set(texts))), round(0.3 * len(set(texts)))]
    assert parts == split_by_source(examples, (0.2, 0.3), seed)


def test_drop_shared_never_touches_the_test_split() -> None:
    assert drop_shared([A, B, C], [B, D], [C, D]) == ([A], [B], [C, D])


def test_kept_corpus_is_built_once_and_equal(tmp_path: Path) -> None:
    corpus = Corpus(
        [Example("a b", roles=("V", "ARG1")), B], [Example("é\n", "t")], [C], {"VAR": [D]}, "somewhere", "MIT"
    )
    built = []

    def build() -> Corpus:
        built.append(1)
        return corpus

    path = tmp_path / "kept.jsonl"
    assert load_kept(path, build) == load_kept(path, build) == corpus
    assert len(built) == 1


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(DataError("message")))
    assert isinstance(error, ValueError) and str(error) == "message"
