from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5vqvae.data import Example, GrammarCorpus, TokenizerConfig, build_tokenizer
from t5vqvae.data.tokenizer import SPECIAL, WHITE_SPACE
from t5vqvae.data.unigram import learn_pieces
from t5vqvae.errors import DataError, SettingError

LATEX = [Example(text) for text in (r"\cos{(x )}", r"\frac{a}{b}", r"- \log{(é )}")]
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126))


def _is_plain(text: str) -> bool:
    return not any(token in text for token in SPECIAL)


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


@given(st.one_of(PRINTABLE, st.lists(st.sampled_from([*r"\{}()^_ a+é", r"\cos", r"\frac", r"\pi"])).map("".join)))
def test_latex_gives_back_every_text(latex: Any, text: str) -> None:
    if _is_plain(text):
        assert latex.decode(latex(text).input_ids, skip_special_tokens=True) == text


@given(
    st.one_of(
        st.text(), PRINTABLE, st.lists(st.sampled_from(["<0x41>", "whale", " ", "\u2581", "\n", "é"])).map("".join)
    )
)
def test_unigram_gives_back_every_text_up_to_white_space(unigram: Any, text: str) -> None:
    if _is_plain(text):
        expected = re.sub(WHITE_SPACE, " ", text).strip(" ")
        assert unigram.decode(unigram(text).input_ids, skip_special_tokens=True) == expected


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


def test_separator_inside_a_text_is_one_token(unigram: Any) -> None:
    assert unigram("a bat </s> a cat").input_ids.count(1) == 2


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


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.tokenizer.kind='pretrained' needs a pretrained backbone"):
        build_tokenizer(TokenizerConfig(kind="pretrained"), LATEX, "latex", None, tmp_path)
    with pytest.raises(DataError, match=r"cannot be loaded"):
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
