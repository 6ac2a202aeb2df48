from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.data import Example, GrammarCorpus, TokenizerConfig, build_tokenizer
from t5vqvae.data.corpora.corpus import spaced
from t5vqvae.data.special_tokens import guard, unguarded_json
from t5vqvae.data.tokenizer import SPECIAL, WHITE_SPACE, load_pretrained
from t5vqvae.data.unigram import learn_pieces
from t5vqvae.errors import DataError, SettingError

LATEX = [Example(text) for text in (r"\cos{(x )}", r"\frac{a}{b}", r"- \log{(é )}")]
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126))


SPELT = [*SPECIAL, "</s", "s>", "<", "<0x41>", "<0x0A>", " ", "a", "\u2581", r"\cos"]
"""Pieces that spell special tokens, whole and in part."""


@pytest.fixture(scope="module")
def latex(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_tokenizer(TokenizerConfig(), LATEX, "latex", None, tmp_path_factory.mktemp("latex"))


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Any:
    corpus = GrammarCorpus(size=300, validation_size=5, test_size=5).load(Path())
    return build_tokenizer(TokenizerConfig(), corpus.train, "unigram", None, tmp_path_factory.mktemp("unigram"))


@pytest.mark.parametrize("kind", ["latex", "unigram"])
def test_conventions_of_t5(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(kind)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("").input_ids == [1]
    assert tokenizer("a").input_ids[-1] == 1 and 1 not in tokenizer("a").input_ids[:-1]
    padded = tokenizer(["a", "a b c"], padding=True)
    assert padded["input_ids"][0][-1] == 0 and padded["attention_mask"][0][-1] == 0
    assert len(tokenizer) == len(tokenizer.get_vocab()) == max(tokenizer.get_vocab().values()) + 1


def test_commands_are_tokens_and_unseen_ones_are_spelt(latex: Any) -> None:
    def tokens(text: str) -> list[str]:
        return latex.convert_ids_to_tokens(latex(text).input_ids)[:-1]

    assert tokens(r"\cos{(x )}") == [r"\cos", "{", "(", "x", " ", ")", "}"]
    assert tokens(r"\alpha x") == ["\\", "a", "l", "p", "h", "a", " ", "x"]
    assert tokens(r"\cosh") == ["\\", "c", "o", "s", "h"]
    assert tokens("é☃") == ["é", "<unk>"]


LATEX_PARTS = st.sampled_from([*r"\{}()^_ a+é", r"\cos", r"\frac", r"\pi", *SPECIAL, "</", "s>", "<0x41>"])
PARTS = st.sampled_from(["whale", "\n", "é", *SPELT])


@settings(deadline=None, derandomize=True)
@given(st.one_of(PRINTABLE, st.lists(LATEX_PARTS).map("".join)))
def test_latex_gives_back_every_text(latex: Any, text: str) -> None:
    ids = latex(text).input_ids
    assert latex.decode(ids, skip_special_tokens=True) == text
    assert not set(ids[:-1]) & set(latex.all_special_ids)


@settings(deadline=None, derandomize=True)
@given(st.one_of(st.text(), PRINTABLE, st.lists(PARTS).map("".join)))
def test_unigram_gives_back_every_text_up_to_white_space(unigram: Any, text: str) -> None:
    ids = unigram(text).input_ids
    assert unigram.decode(ids, skip_special_tokens=True) == re.sub(WHITE_SPACE, " ", text).strip(" ")
    assert not set(ids[:-1]) & set(unigram.all_special_ids)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A T5 tokenizer as a backbone brings it: special tokens among the pieces, sentinels, no bytes."""
    from transformers import T5Tokenizer

    folder = tmp_path_factory.mktemp("pretrained")
    pieces = [*SPECIAL, "\u2581", "</", "\u2581a", "</s", *map(chr, range(33, 127))]
    T5Tokenizer(vocab=[(piece, -float(number > 2)) for number, piece in enumerate(pieces)]).save_pretrained(folder)
    return build_tokenizer(TokenizerConfig(), LATEX, "latex", str(folder), folder)


@settings(deadline=None, derandomize=True)
@given(st.one_of(PRINTABLE, st.lists(st.sampled_from([*SPELT, "<extra_id_0>", "<extra_id_", "é", "\n"])).map("".join)))
def test_a_backbones_tokenizer_gives_back_what_it_can_spell(pretrained: Any, text: str) -> None:
    ids = pretrained(text).input_ids
    assert (pretrained.unk_token_id in ids) == ("é" in text)
    if "é" not in text:
        assert not set(ids[:-1]) & set(pretrained.all_special_ids)
        assert spaced(pretrained.decode(ids, skip_special_tokens=True)) == spaced(text)


@pytest.mark.parametrize("kind", ["latex", "unigram"])
def test_a_tokenizer_trained_on_special_tokens_keeps_its_own(kind: str, tmp_path: Path) -> None:
    texts = [f"was <s>{number} euro</s> now <unk> euro <0x41>" for number in range(15)]
    own = build_tokenizer(TokenizerConfig(kind=kind), [Example(text) for text in texts], kind, None, tmp_path)
    assert len(own) == len(own.get_vocab())
    assert [own.get_vocab()[token] for token in SPECIAL] == [0, 1, 2]
    assert own.batch_decode(own(texts).input_ids, skip_special_tokens=True) == texts


@pytest.mark.parametrize("kind", ["latex", "unigram", "pretrained"])
def test_the_guard_survives_saving_and_changes_no_identity(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tokenizer = request.getfixturevalue(kind)
    tokenizer.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path)
    assert again("a </s>a").input_ids == tokenizer("a </s>a").input_ids
    once = unguarded_json(again)
    assert once == unguarded_json(guard(guard(again))) == unguarded_json(tokenizer)
    assert "special tokens)" not in once and "special tokens)" in again.backend_tokenizer.to_str()


def test_unigram_learns_words(unigram: Any) -> None:
    tokens = unigram.convert_ids_to_tokens(unigram("a whale is a kind of mammal").input_ids)
    assert tokens == ["▁a", "▁whale", "▁is", "▁a", "▁kind", "▁of", "▁mammal", "</s>"]


def test_saved_tokenizer_is_the_same(latex: Any, unigram: Any, tmp_path: Path) -> None:
    for number, tokenizer in enumerate((latex, unigram)):
        tokenizer.save_pretrained(tmp_path / str(number))
        again = build_tokenizer(TokenizerConfig(), [], "latex", str(tmp_path / str(number)), tmp_path)
        text = r"\cos{(x )} a  whale's \pi"
        assert again(text).input_ids == tokenizer(text).input_ids
        assert again.decode(again(text).input_ids) == tokenizer.decode(tokenizer(text).input_ids)


def test_a_second_text_follows_an_end_of_text_token(unigram: Any) -> None:
    assert unigram("a bat", "a cat").input_ids == [*unigram("a bat").input_ids, *unigram("a cat").input_ids]
    assert unigram("a bat </s> a cat").input_ids.count(1) == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "no checksum"])
def test_a_damaged_tokenizer_in_the_cache_is_trained_anew(damage: str, tmp_path: Path) -> None:
    config, examples = TokenizerConfig(kind="latex"), [Example("a b")]
    before = unguarded_json(build_tokenizer(config, examples, "latex", None, tmp_path))
    (path,) = (tmp_path / "tokenizers").glob("*.json")
    text = path.read_text()
    if damage == "no checksum":
        path.with_name(f"{path.name}.sha256").unlink()
    path.write_text(text.replace('"a"', '"é"') if damage != "truncate" else text[:50])
    assert unguarded_json(build_tokenizer(config, examples, "latex", None, tmp_path)) == before


def test_same_examples_same_tokenizer_in_every_process() -> None:
    code = """
from pathlib import Path
from t5vqvae.data import GrammarCorpus
from t5vqvae.data.tokenizer import _train_unigram
corpus = GrammarCorpus(size=400, validation_size=5, test_size=5).load(Path())
print(_train_unigram([example.source for example in corpus.train], 450).to_str())
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    first, second = (run.communicate()[0] for run in runs)
    assert first and first == second


def test_number_of_pieces_is_kept() -> None:
    words = Counter({"▁whale": 5, "▁whales": 3, "▁what": 4, "▁hale": 2, "▁z": 1})
    for number in (20, 26, 40):
        pieces = [piece for piece, _ in learn_pieces(words, number)]
        assert len(pieces) <= number and len(pieces) == len(set(pieces))
    scores = dict(learn_pieces(words, 40))
    assert "▁whale" in scores and all(score < 0 for score in scores.values())
    assert set("<0x") <= set(dict(learn_pieces(words, 40, required="<0x")))


def test_fewer_characters_than_there_are_leaves_the_rest_to_bytes() -> None:
    words = {f"▁{chr(number)}": number for number in range(0x4E00, 0x4E40)}
    pieces = dict(learn_pieces(words, 20))
    assert len(pieces) <= 20 and chr(0x4E3F) in pieces and chr(0x4E00) not in pieces


def test_vocabulary_size_is_a_limit(tmp_path: Path) -> None:
    corpus = GrammarCorpus(size=300, validation_size=5, test_size=5).load(Path())
    small = build_tokenizer(TokenizerConfig(vocab_size=350), corpus.train, "unigram", None, tmp_path)
    assert 300 < len(small) <= 350


def test_kind_can_be_forced_over_the_corpus_default(tmp_path: Path) -> None:
    forced = build_tokenizer(TokenizerConfig(kind="latex"), LATEX, "unigram", "some-backbone", tmp_path)
    assert r"\cos" in forced.get_vocab()


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer_of_a_backbone_is_one_line(content: bytes, file: str, latex: Any, tmp_path: Path) -> None:
    latex.save_pretrained(tmp_path)
    (tmp_path / file).write_bytes(content)
    try:
        build_tokenizer(TokenizerConfig(), LATEX, "latex", str(tmp_path), tmp_path)
    except DataError as error:
        assert str(tmp_path) in str(error) and "\n" not in str(error)
    else:
        assert (file, content[:1]) == ("tokenizer_config.json", b"{"), "only its settings are missing"


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.tokenizer.kind='pretrained' needs a pretrained backbone"):
        build_tokenizer(TokenizerConfig(kind="pretrained"), LATEX, "latex", None, tmp_path)
    with pytest.raises(DataError, match=r"model\.backbone='.*' is no folder"):
        build_tokenizer(TokenizerConfig(), LATEX, "latex", str(tmp_path / "nothing"), tmp_path)
    with pytest.raises(SettingError, match=r"vocab_size=100 must be at least 300"):
        TokenizerConfig.parse({"vocab_size": 100})


def test_a_tokenizer_without_t5s_conventions_is_refused(latex: Any, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    raw = Tokenizer.from_str(latex.backend_tokenizer.to_str())
    raw.post_processor = processors.Sequence([])
    type(latex)(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"no T5 tokenizer"):
        build_tokenizer(TokenizerConfig(), LATEX, "latex", str(tmp_path), tmp_path)
