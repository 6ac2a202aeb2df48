"""Augmentation shows new names and rare symbols, never a symbol that a test set holds out."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from shown_bytes import fewest_in_a_place

from t5vqvae.config import Overrides
from t5vqvae.data import DataConfig, Example, MathCorpus, PreparedData, TextCorpus, prepare, prepare_test
from t5vqvae.data.augment import AugmentConfig, added_rows, held_out_symbols, joined, refuse_held_out
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import Corpus
from t5vqvae.data.corpora.math_ood import RESERVED
from t5vqvae.data.rare_symbols import RareSymbols
from t5vqvae.data.tokenizer import build_tokenizer
from t5vqvae.errors import DataError, SettingError

SMALL = {"corpus.size": 600, "corpus.validation_size": 40, "corpus.test_size": 40, "max_length": 90}
OPEN = {"tokenizer.open_vocabulary": True, "tokenizer.min_count": 100}
BOTH = {**SMALL, **OPEN, "augment.rename": 0.5, "augment.join": 0.3}
SYMBOLS = re.compile(r"\\[A-Za-z]+|[<=>]|[^\x00-\x7f]")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def texts(split: object) -> list[str]:
    return split.sources(range(len(split)))  # type: ignore[attr-defined]


def targets(split: object) -> list[str]:
    return split.texts(range(len(split)))  # type: ignore[attr-defined]


def token_counts(data: PreparedData) -> Counter[str]:
    ids = data.train.batch(range(len(data.train)))
    flat = ids.input_ids_BT[ids.mask_BT].tolist()
    return Counter(data.tokenizer.convert_ids_to_tokens(flat))


def test_the_corpus_s_own_training_rows_are_told_from_added_ones(cache: Path) -> None:
    data = prepare(DataConfig().with_overrides(BOTH), cache)
    plain = prepare(DataConfig().with_overrides({**SMALL, **OPEN}), cache)
    assert len(data.own_train) < len(data.train) and texts(data.own_train) == texts(plain.train)
    assert plain.own_train is plain.train


# The law of the vocabulary


def test_no_token_of_an_open_vocabulary_is_rare_in_the_prepared_rows(cache: Path) -> None:
    more = {"augment.rename": 5.0, "augment.join": 8.0, "corpus.size": 2_000}
    data = prepare(DataConfig().with_overrides({**BOTH, **more}), cache)
    counts = token_counts(data)
    rare = {t: counts[t] for t in data.tokenizer.get_vocab() if counts[t] < 50 and t not in ("<pad>", "<unk>")}
    assert rare == {} and counts["<unk>"] == 0
    assert fewest_in_a_place(texts(data.train)) >= 50


def test_the_vocabulary_of_text_has_no_rare_token_either(cache: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    words = ["the", "whale", "of", "a", "sea", "is", "one", "kind"]
    lines = dict.fromkeys(" ".join(rng.choices(words, k=6)) for _ in range(3_000))
    (tmp_path / "all.txt").write_text("\n".join(lines))
    config = DataConfig(corpus=TextCorpus(path=str(tmp_path / "all.txt")), max_length=90)
    data = prepare(config.with_overrides({**OPEN, "augment.join": 8.0}), cache)
    counts = token_counts(data)
    assert {t for t in data.tokenizer.get_vocab() if counts[t] < 50} == {"<pad>", "<unk>"}
    assert fewest_in_a_place(texts(data.train)) >= 50


# What is never shown


def test_no_added_row_shows_a_symbol_of_a_test_set_or_a_twin(cache: Path) -> None:
    data = prepare(DataConfig().with_overrides(BOTH), cache)
    plain = prepare(DataConfig().with_overrides(SMALL), cache)
    tested = prepare_test(DataConfig().with_overrides({**BOTH, "ood": 20, "harder": 20}), cache)
    shown = set(SYMBOLS.findall(" ".join(texts(plain.train))))
    held_out = set(SYMBOLS.findall(RESERVED + " ".join(t for split in tested.values() for t in texts(split)))) - shown
    assert {r"\alpha", "=", r"\leq", r"\sim", "б", "あ"} <= held_out
    added = texts(data.train)[len(plain.train) :]
    assert len(added) == sum(data.num_augmented.values()) > 400
    assert not set(SYMBOLS.findall(" ".join(added))) & held_out
    everything = {t for split in (data.validation, *tested.values()) for t in texts(split)}
    assert not set(added) & everything


def test_a_row_with_a_held_out_symbol_is_refused_by_name() -> None:
    held_out = {r"\alpha", "="}
    refuse_held_out([Example("x y")], held_out)
    with pytest.raises(DataError, match=r"adds the training row 'x = y', which shows '='"):
        refuse_held_out([Example("x y"), Example("x = y")], held_out)


class _Leaking(MathCorpus):
    """Renames every letter to a Greek one of VAR."""

    def renamed(self, example: Example, names: Callable[[Sequence[str]], Mapping[str, str]]) -> Example | None:
        return super().renamed(example, lambda old: dict.fromkeys(old[:1], "alpha"))


def test_a_renaming_to_a_held_out_name_adds_nothing(cache: Path) -> None:
    source = _Leaking(size=100, validation_size=10, test_size=10)
    corpus = source.load(cache)
    tokenizer = build_tokenizer(DataConfig().tokenizer, corpus.train, "latex", None, cache)
    assert added_rows(AugmentConfig(rename=0.5), corpus, source, tokenizer).rows == []


def test_what_the_training_split_shows_is_not_held_out() -> None:
    train, test = [Example(r"\a ☃")], [Example(r"\a \b ☃ é <")]
    corpus = Corpus(train, [Example("v")], test)
    assert held_out_symbols(corpus, CorpusConfig(name="none")) == {r"\b", "é", "<"}


# What is added


def test_it_is_off_by_default_and_then_changes_nothing(cache: Path) -> None:
    plain = DataConfig().with_overrides(SMALL)
    data = prepare(plain, cache)
    assert data.num_augmented == {} and len(data.train) == 600
    assert prepare(plain.with_overrides({"augment.seed": 5}), cache).fingerprint == data.fingerprint


def test_only_the_training_split_grows_and_the_seed_decides(cache: Path) -> None:
    plain, config = prepare(DataConfig().with_overrides({**SMALL, **OPEN}), cache), DataConfig().with_overrides(BOTH)
    data = prepare(config, cache)
    assert data.num_augmented == {"rename": 300, "join": 180} and len(data.train) == 1_080
    assert texts(data.train)[:600] == texts(plain.train) and texts(data.validation) == texts(plain.validation)
    other = prepare(config.with_overrides({"augment.seed": 1}), cache)
    assert texts(prepare(config, cache / "again").train) == texts(data.train) != texts(other.train)
    assert len({plain.fingerprint, data.fingerprint, other.fingerprint}) == 3


def test_renaming_prints_the_tree_anew() -> None:
    corpus = MathCorpus(task="derive")
    question = Example(r"\frac{\partial}{\partial x} x y", "y")
    renamed = corpus.renamed(question, lambda old: {"x": "zap"})
    assert renamed == Example(r"\frac{\partial}{\partial \zap} y \zap", "y"), "SymPy orders factors by name"
    assert corpus.renamed(Example("x = y"), lambda old: {}) is None


def test_worked_joins() -> None:
    one, other = Example("a b", "t", roles=("V", "A")), Example("c", roles=("V",))
    assert joined(one, other, "☃") == Example("a b ☃ c", "t ☃ c", ("V", "A", "none", "V"))
    assert joined(other, other, "\t") == Example("c \t c", None, ("V", "V"))
    one, other = Example("p", "t", second="q"), Example("r", "u", second="s")
    assert joined(one, other, "☃") == Example("p ☃ r", "t ☃ u", second="q ☃ s")


PREMISES: Overrides = {
    "corpus.name": "syllogisms",
    "corpus.two_texts": True,
    "corpus.size": 300,
    "corpus.test_size": 20,
    "corpus.validation_size": 20,
    "tokenizer.vocab_size": 400,
    "max_length": 200,
    "augment.join": 0.5,
}


def test_rows_of_two_texts_are_joined_text_by_text(cache: Path) -> None:
    data = prepare(DataConfig().with_overrides(PREMISES), cache)
    plain = prepare(DataConfig().with_overrides({**PREMISES, "augment.join": 0.0}), cache)
    assert data.num_augmented == {"rename": 0, "join": 150} and data.fingerprint != plain.fingerprint
    answers = dict(zip(texts(plain.train), targets(plain.train), strict=True))
    for source, target in zip(texts(data.train)[300:], targets(data.train)[300:], strict=True):
        symbol = next(word for word in target.split() if not (word.isascii() and word.isalpha()))
        parts = (text.split(f" {symbol} ") for text in source.split(" </s> "))
        one, other = (" </s> ".join(texts) for texts in zip(*parts, strict=True))
        assert target == f"{answers[one]} {symbol} {answers[other]}"


def test_fewer_added_rows_than_asked_for_are_said(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(DataConfig().with_overrides({**PREMISES, "max_length": 50}), cache)
    (said,) = (each.getMessage() for each in caplog.records if "data.augment" in each.getMessage())
    assert re.match(r"data.augment.join=0.5 asks for 150 rows and adds \d{1,2}: .* raise data.max_length", said)


def test_joining_where_no_symbol_is_rare_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"{letter} {string.punctuation}" for letter in string.ascii_lowercase))
    config = DataConfig(corpus=TextCorpus(path=str(tmp_path / "a.txt")), max_length=100).with_overrides(
        {"tokenizer.kind": "latex", "augment.join": 0.5}
    )
    with pytest.raises(SettingError, match=r"data.augment.join puts symbols .* data.tokenizer.open_vocabulary=true"):
        prepare(config, tmp_path / "cache")
    found = prepare(config.with_overrides({"tokenizer.open_vocabulary": True}), tmp_path / "cache")
    assert found.num_augmented["join"] == 10


def test_renaming_a_corpus_without_names_is_refused(cache: Path) -> None:
    config = DataConfig().with_overrides({"corpus.name": "grammar", "augment.rename": 0.5})
    with pytest.raises(SettingError, match=r"rename=0.5 needs a corpus whose letters .*join works"):
        prepare(config, cache)


def test_a_closed_vocabulary_gets_what_it_can_spell(cache: Path) -> None:
    data = prepare(DataConfig().with_overrides({**BOTH, "tokenizer.open_vocabulary": False}), cache)
    assert data.num_augmented == {"rename": 300, "join": 180} and data.left_out["train"] == {}
    assert all(text.isascii() for text in texts(data.train))


# Rare symbols


def test_symbols_are_dealt_evenly_and_none_is_held_out() -> None:
    symbols = RareSymbols("7", True, {chr(code) for code in range(0x80, 0xC0)}, random.Random(0))
    drawn = [symbols.draw() for _ in range(4_000)]
    assert {len(symbol.encode()) for symbol in drawn} == {1, 2, 3, 4}
    assert not any("\x80" <= symbol < "\xc0" or symbol.isspace() for symbol in drawn)
    assert all(len(symbols.draw_character().encode()) > 1 for _ in range(100))
