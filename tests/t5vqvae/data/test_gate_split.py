"""The sentences that decide: apart from every other split, the same for every model, or one half of the test split."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.grammar import GrammarCorpus
from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.data.corpora.math_problem import split_of
from t5vqvae.data.gate_split import half_of, kind_of_gate, prepare_gate
from t5vqvae.data.prepare import DataConfig, prepare, prepare_test
from t5vqvae.data.split import Tokenized, TokenizedSplit, write_split
from t5vqvae.data.tokenizer import TokenizerConfig

SIZES = {"size": 60, "validation_size": 10, "test_size": 12}
DRAWN = [GrammarCorpus(**SIZES), GrammarCorpus(**SIZES, version=2), MathCorpus(**SIZES)]


@pytest.mark.parametrize("corpus", DRAWN, ids=["grammar", "grammar 2", "math"])
def test_a_drawn_gate_shares_no_sentence_with_any_split_and_is_the_same_again(
    corpus: CorpusConfig, tmp_path: Path
) -> None:
    gate = corpus.gate(tmp_path)
    drawn = [example.source for examples in gate.values() for example in examples]
    taken = {example.source for examples in corpus.load(tmp_path).splits.values() for example in examples}
    assert len(gate["gate"]) == 12 and len(set(drawn)) == len(drawn) and not taken & set(drawn)
    assert corpus.gate(tmp_path) == gate


def test_no_string_of_math_s_gate_is_trained_on_with_another_size_which_leaves_the_gate_as_it_is(
    tmp_path: Path,
) -> None:
    small, large = (MathCorpus(**{**SIZES, "size": size}) for size in (60, 240))
    assert {split_of(example.source, 0) for example in small.gate(tmp_path)["gate"]} == {"test"}
    assert small.gate(tmp_path) == large.gate(tmp_path)
    trained = {example.source for example in large.load(tmp_path).train}
    assert not trained & {example.source for example in small.gate(tmp_path)["gate"]}


def test_a_prepared_gate_is_kept_and_named_by_its_texts(tmp_path: Path) -> None:
    data = DataConfig(corpus=MathCorpus(**SIZES))
    first, again = (prepare_gate(data, tmp_path, None) for _ in range(2))
    assert first.kind == kind_of_gate(data) == "own" and set(first.splits) == {"gate", "VAR"}
    assert first.digest == again.digest and len(first.splits["gate"]) == 12
    other = prepare_gate(DataConfig(corpus=MathCorpus(**SIZES, seed=1)), tmp_path, None)
    assert other.digest != first.digest
    tested = {text for split in prepare_test(data, tmp_path).values() for text in split.sources(range(len(split)))}
    assert not tested & set(first.splits["gate"].sources(range(12)))


def test_sets_out_of_distribution_are_drawn_for_decisions_and_share_nothing(tmp_path: Path) -> None:
    corpus = MathCorpus(**SIZES)
    data = DataConfig(corpus=corpus, ood=6, harder=4, tokenizer=TokenizerConfig(open_vocabulary=True), max_length=100)
    gate = prepare_gate(data, tmp_path, None)
    assert {name: len(split) for name, split in gate.splits.items() if name != "VAR"} == {
        **dict.fromkeys(("EASY", "EQ", "LEN"), 6),
        "gate": 12,
    }
    plain = prepare_gate(data.with_overrides({"ood": 0, "harder": 0}), tmp_path, None)
    for name in ("gate", "VAR"):
        assert _sources(gate.splits[name]) == _sources(plain.splits[name]), "no setting changes these"
    drawn = [source for split in gate.splits.values() for source in _sources(split)]
    prepared = prepare(data, tmp_path)
    others = [prepared.train, prepared.validation, *prepared.twins.values(), *prepare_test(data, tmp_path).values()]
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & {source for split in others for source in _sources(split)}
    assert {split_of(source, 0) for source in _sources(gate.splits["LEN"])} == {"test"}
    assert all(" = " in source for source in _sources(gate.splits["EQ"]))
    assert all(source.startswith(r"\frac{") for source in _sources(gate.splits["EASY"]))


def _sources(split: TokenizedSplit) -> list[str]:
    return split.sources(range(len(split)))


@pytest.fixture
def whole(tmp_path: Path) -> TokenizedSplit:
    rows = [Tokenized(f"s{n}", f"t {n}", [n + 1] * (1 + n % 4), [n + 2] * (1 + n % 3), None) for n in range(40)]
    write_split(tmp_path / "test", rows)
    return TokenizedSplit(tmp_path / "test")


def test_a_test_set_is_cut_into_two_halves_by_its_sources(whole: TokenizedSplit) -> None:
    gate, reported = half_of(whole, gate=True), half_of(whole, gate=False)
    sides = [part.sources(range(len(part))) for part in (gate, reported)]
    assert sorted(sides[0] + sides[1]) == sorted(whole.sources(range(40))) and not set(sides[0]) & set(sides[1])
    assert 10 < len(gate) < 30, "about a half each"
    assert half_of(whole, gate=True).sources(range(3)) == sides[0][:3], "always the same"


def test_a_half_is_read_as_a_whole_split_is(whole: TokenizedSplit) -> None:
    half = half_of(whole, gate=True)
    at = [int(source[1:]) for source in half.sources(range(len(half)))]
    assert half.texts([2, 0]) == whole.texts([at[2], at[0]])
    for name in ("source_lengths_N", "target_lengths_N", "num_chars_N", "lengths"):
        assert np.array_equal(getattr(half, name), getattr(whole, name)[at]), name
    assert np.array_equal(half.token_counts([1, 3]), whole.token_counts([at[1], at[3]]))
    shown = [token for n in at for token in [n + 1] * (1 + n % 4) + [n + 2] * (1 + n % 3)]
    assert np.array_equal(half.num_shown(50), np.bincount(shown, minlength=50)) and not half.has_pairs
    mine, theirs = half.batch([3, 1]), whole.batch([at[3], at[1]])
    assert torch.equal(mine.input_ids_BT, theirs.input_ids_BT) and torch.equal(mine.labels_BS, theirs.labels_BS)
    with pytest.raises(TypeError, match="not sent"):
        pickle.dumps(half)


def test_every_corpus_that_is_not_drawn_gives_half_of_its_test_split() -> None:
    drawn = {name for name, config in CorpusConfig.variants.items() if config.draws_gate}
    assert drawn == {"grammar", "math"}
