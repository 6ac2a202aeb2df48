"""Open vocabularies spell every text, and have no token that training lacks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.data import Example, GrammarCorpus, TokenizerConfig, build_tokenizer
from t5vqvae.data.open_vocabulary import byte_tokens, open_pieces
from t5vqvae.data.tokenizer import ASCII_SPACE, SPECIAL, WHITE_SPACE, load_pretrained
from t5vqvae.errors import SettingError

LATEX = [Example(text) for text in [r"\cos{(x )}"] * 3 + [r"\frac{a}{7}"] * 2]
GRAMMAR = GrammarCorpus(size=300, validation_size=5, test_size=5)
PRIVATE = "\ue03c\ue03d\ue0bd\ue07f\ue0ff"
PARTS = st.sampled_from(
    [*r"\{}()^_ a+é☃", r"\cos", r"\alpha", *SPECIAL, "</", "s>", "<0x41>", "<0xE2>", "\0", *PRIVATE, *"<=>\u2581"]
)
TEXTS = st.one_of(st.text(), st.lists(PARTS).map("".join))


def build(kind: str, folder: Path, min_count: int = 3) -> Any:
    config = TokenizerConfig(kind=kind, open_vocabulary=True, min_count=min_count)
    examples = LATEX if kind == "latex" else GRAMMAR.load(folder).train
    return build_tokenizer(config, examples, kind, None, folder)


@pytest.fixture(scope="module")
def latex(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("latex", tmp_path_factory.mktemp("latex"))


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("unigram", tmp_path_factory.mktemp("unigram"), min_count=20)


@settings(deadline=None, derandomize=True)
@given(TEXTS)
def test_latex_gives_back_every_text_of_unicode(latex: Any, text: str) -> None:
    ids = latex(text).input_ids
    assert latex.decode(ids, skip_special_tokens=True) == text
    assert not set(ids[:-1]) & set(latex.all_special_ids)


@settings(deadline=None, derandomize=True)
@given(TEXTS)
def test_unigram_gives_back_every_text_of_unicode_up_to_white_space(unigram: Any, text: str) -> None:
    ids = unigram(text).input_ids
    assert unigram.decode(ids, skip_special_tokens=True) == re.sub(WHITE_SPACE, " ", text).strip(" ")
    assert not set(ids[:-1]) & set(unigram.all_special_ids)


def test_what_is_rare_is_spelt_and_what_is_frequent_is_a_token(latex: Any) -> None:
    def tokens(text: str) -> list[str]:
        return latex.convert_ids_to_tokens(latex(text).input_ids)[:-1]

    assert tokens(r"\cos{x") == [r"\cos", "{", "x"]
    assert tokens(r"\frac7") == ["\\", "f", "r", "a", "c", "<0x37>"], "seen twice, not three times"
    assert tokens("=") == ["<0xEE>", "<0x80>", "<0xBD>"], "no token stands for a rare relation alone"
    assert tokens("é☃") == ["<0xC3>", "<0xA9>", "<0xE2>", "<0x98>", "<0x83>"]
    assert {r"\frac", "7", "=", "<0x3D>", "<0x78>", "<0xC0>", "<0xFF>"} & set(latex.get_vocab()) == set()


def test_the_minimum_is_a_setting(tmp_path: Path) -> None:
    assert r"\frac" in build("latex", tmp_path, min_count=2).get_vocab()
    assert r"\cos" not in build("latex", tmp_path, min_count=4).get_vocab()


def test_every_piece_of_text_is_frequent(unigram: Any, tmp_path: Path) -> None:
    examples = GRAMMAR.load(tmp_path).train
    used = Counter(token for e in examples for token in unigram.convert_ids_to_tokens(unigram(e.source).input_ids))
    pieces = {token for token in unigram.get_vocab() if token not in SPECIAL and not token.startswith("<0x")}
    assert len(pieces) > 30 and min(used[piece] for piece in pieces) >= 20


def test_worked_pieces() -> None:
    words = Counter({"▁ab": 4, "▁abc": 1, "▁x": 2})
    kept = dict(open_pieces(words, 20, min_count=2))
    assert "c" not in kept and "▁abc" not in kept and {"▁ab", "x"} & set(kept) and all(kept[p] < 0 for p in kept)
    assert open_pieces(words, 20, min_count=10) == []


def test_bytes_are_those_that_some_text_needs() -> None:
    needed = {byte for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000 for byte in chr(code).encode()}
    assert byte_tokens("a") == [f"<0x{byte:02X}>" for byte in sorted((needed | set(range(128))) - {ord("a")})]
    assert "<0x0A>" not in byte_tokens("", unused=ASCII_SPACE)


def test_a_frequent_relation_is_a_token(tmp_path: Path) -> None:
    config = TokenizerConfig(open_vocabulary=True, min_count=3)
    tokenizer = build_tokenizer(config, [Example("x = y")] * 3, "latex", None, tmp_path)
    assert "=" in tokenizer.convert_ids_to_tokens(tokenizer("a = b").input_ids)
    assert tokenizer.decode(tokenizer("a = b < \ue03d").input_ids, skip_special_tokens=True) == "a = b < \ue03d"


@pytest.mark.parametrize("kind", ["latex", "unigram"])
def test_it_survives_saving(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tokenizer = request.getfixturevalue(kind)
    tokenizer.save_pretrained(tmp_path)
    again, text = load_pretrained(tmp_path), r"\cosh a ☃<0x41></s>"
    assert again(text).input_ids == tokenizer(text).input_ids
    assert again.decode(again(text).input_ids, skip_special_tokens=True) == text


def test_a_backbones_vocabulary_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.tokenizer.open_vocabulary=true .* a backbone brings its own"):
        build_tokenizer(TokenizerConfig(open_vocabulary=True), LATEX, "latex", "some-backbone", tmp_path)


@pytest.mark.parametrize("text", ["5 of 7 cats", "2 + 2", "A B", "\u65e5\u672c \u8a9e", " a  b "])
def test_spaces_come_back_where_the_mark_of_a_words_start_is_spelt(text: str, tmp_path: Path) -> None:
    """Where every word of training is a piece with its mark, the mark alone is rare, and so spelt in bytes."""
    examples = [Example("alpha beta gamma delta")] * 200
    config = TokenizerConfig(kind="unigram", open_vocabulary=True, min_count=50, vocab_size=300)
    tokenizer = build_tokenizer(config, examples, "unigram", None, tmp_path)
    assert "\u2581" not in tokenizer.get_vocab()
    found = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert found == re.sub(WHITE_SPACE, " ", text).strip(" ")
