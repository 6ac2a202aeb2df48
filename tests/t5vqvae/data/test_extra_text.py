"""Extra text is read by the first of two training stages, and no sentence of a held-out row is in it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from t5vqvae.config import Overrides
from t5vqvae.data import DataConfig, Example, MathCorpus, PreparedData, TokenizedSplit, prepare
from t5vqvae.data.extra_text import read_extra_text
from t5vqvae.data.prepare import gate_examples, with_further_sets
from t5vqvae.errors import DataError, SettingError
from t5vqvae.spec.run import RunSpec

PREMISES: Overrides = {
    "corpus.name": "syllogisms",
    "corpus.two_texts": True,
    "corpus.size": 100,
    "corpus.test_size": 20,
    "corpus.validation_size": 20,
    "tokenizer.vocab_size": 400,
    "max_length": 60,
}
FURTHER = [f"whales number {number} are large ." for number in range(30)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def sources(split: TokenizedSplit | None) -> list[str]:
    assert split is not None
    return split.sources(range(len(split)))


def with_text(file: Path, cache: Path, lines: list[str], **more: object) -> PreparedData:
    file.write_text("\n".join(lines))
    return prepare(DataConfig().with_overrides({**PREMISES, "extra_text": str(file), **more}), cache)


def test_no_sentence_of_a_held_out_row_is_read(cache: Path, tmp_path: Path) -> None:
    config = DataConfig().with_overrides(PREMISES)
    splits = config.corpus.load(cache).splits
    held_out = [e for name, examples in splits.items() if name != "train" for e in examples]
    said = [text for e in held_out for text in (e.source, e.second, e.target) if text is not None]
    changed = [text.upper().replace(" ", "   ").removesuffix(".") + "!" for text in said]
    among = [f"Whales are large. {text}" for text in said]
    data = with_text(tmp_path / "a.txt", cache, [*FURTHER, *said, *changed, *among])
    assert sources(data.autoencoded) == [*sources(data.train), *FURTHER]
    assert data.extra_text == {"kept": 30, "in a held-out row": 3 * len(said)}
    parts = {part for text in said for part in f"{text} ".split(" . ") if part}
    assert len(said) > 200 and not any(part in text for part in parts for text in sources(data.autoencoded)[100:])


def test_a_sentence_of_a_held_out_text_of_several_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It rains.\nIt is warm\nit  IS wet; \nit")
    row = Example("It rains. Is it wet?", "it is wet.", second="it is cold")
    found = read_extra_text(str(tmp_path / "a.txt"), [row])
    assert [row.source for row in found.rows] == ["It is warm", "it"] and found.left_out == {"in a held-out row": 2}


@pytest.mark.parametrize(
    ("line", "is_left_out"),
    [
        ("a cat is a kind-of animal", True),
        ("A cat is a kind of (animal)", True),
        ("cats, too, eat mice", True),
        ("mice run", True),
        ("all run; mice eat", False),
        ("mice", False),
        ("a dog is a kind of animal", False),
        ("\u092c\u093f\u0932", True),
        ("\u092c\u0932", False),  # without its vowel sign another word
        ("+ =", True),
        ("+ -", False),
    ],
)
def test_words_alone_are_compared(line: str, is_left_out: bool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\n", encoding="utf-8")
    texts = ["a cat is a kind of animal", "dogs bark;cats too eat mice/mice run", "\u092c\u093f\u0932", "+ ="]
    found = read_extra_text(str(tmp_path / "a.txt"), [Example(text) for text in texts])
    assert found.left_out.get("in a held-out row", 0) == is_left_out and len(found.rows) == 1 - is_left_out


def test_nothing_else_changes(cache: Path, tmp_path: Path) -> None:
    plain = prepare(DataConfig().with_overrides(PREMISES), cache)
    data = with_text(tmp_path / "a.txt", cache, FURTHER)
    assert plain.autoencoded is None and plain.extra_text == {}
    assert sources(data.train) == sources(plain.train) and sources(data.validation) == sources(plain.validation)
    assert data.tokenizer.get_vocab() == plain.tokenizer.get_vocab()
    other = with_text(tmp_path / "a.txt", cache, FURTHER[1:])
    assert len({plain.fingerprint, data.fingerprint, other.fingerprint}) == 3, "a changed file is read again"


def test_what_cannot_be_read_is_counted_and_said(cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.csv").write_text("sentence,note\nwhales swim,x\n,y\n")
    (tmp_path / "more" / "notes.pdf").write_text("no text")
    with caplog.at_level(logging.WARNING):
        more = {"extra_text": str(tmp_path / "more")}
        data = with_text(tmp_path / "more" / "a.txt", cache, ["whales " * 60, "whales dive"], **more)
    assert sources(data.autoencoded)[100:] == ["whales dive", "whales swim"]
    assert data.extra_text == {"kept": 2, "empty": 1, "too long": 1}
    assert "2 rows of data.extra_text are left out: 1 empty, 1 too long" in caplog.text


def test_a_text_that_leaves_nothing_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.txt' leaves no sentence \(1 in a held-out row\); add some"):
        with_text(tmp_path / "a.txt", cache, ["Nothing follows."])
    with pytest.raises(DataError, match=r"data.extra_text='.*no.txt' is no file, and no folder with .* give the path"):
        prepare(DataConfig().with_overrides({**PREMISES, "extra_text": str(tmp_path / "no.txt")}), cache)


@pytest.mark.parametrize("ood", [0, 5])
def test_sentences_that_decide_a_promotion_are_held_out(ood: int, tmp_path: Path) -> None:
    corpus = MathCorpus(size=60, validation_size=10, test_size=10)
    plain = DataConfig(corpus=corpus, max_length=90, ood=ood)
    drawn = gate_examples(plain, with_further_sets(plain, corpus.load(tmp_path)), tmp_path)
    gate = [e.source for found in drawn.values() for e in found]
    assert (len(drawn) > 2) == bool(ood), "those out of distribution are drawn, too"
    (tmp_path / "a.txt").write_text("\n".join([*gate, r"\cos{(a a a)}"]))
    config = DataConfig(corpus=corpus, max_length=90, ood=ood, extra_text=str(tmp_path / "a.txt"))
    assert prepare(config, tmp_path).extra_text == {"kept": 1, "in a held-out row": len(gate)}


def test_one_stage_has_no_use_for_it(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.extra_text='.*a.txt' is read in the first of two stages.* set train"):
        RunSpec().with_overrides({"data.extra_text": str(tmp_path / "a.txt")})
