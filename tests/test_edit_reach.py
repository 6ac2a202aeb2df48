"""What edits of `grammar` version 2 ask for: worked examples, and the symmetry on which the bound rests."""

from __future__ import annotations

import random
import re

import pytest

from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.grammar_parser import factors_of
from t5vqvae.data.corpora.grammar_words import KNOWN, WORDS, Form
from t5vqvae.spec.run import RunSpec
from tests.benchmarks.edit_reach import KIND_OF, by_ending, changes, forms_outside, reach

PROPERTIES = ("template", "determiner", "number", "tense", "negation", "voice")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    base = {"data.corpus.name": "grammar", "data.corpus.version": 2, "data.corpus.size": 3000}
    corpus = RunSpec().with_overrides(base).data.corpus.load(tmp_path_factory.mktemp("cache"))
    return [example.source for example in corpus.train[:300]]


def edited(source: str, words: str, donor: str, brought: str, answer: str) -> Edit:
    spans = [(text.index(part), text.index(part) + len(part)) for text, part in ((source, words), (donor, brought))]
    return Edit(source, donor, answer, "", "factor", "distributed", *spans)


def test_a_past_that_is_not_an_ending_is_one_of_six_by_chance() -> None:
    edit = edited(
        "an owl sings when it catches eggs at night", "sings",
        "the bats slept when they found nuts", "slept",
        "an owl slept when it caught eggs at night",
    )  # fmt: skip
    assert changes(edit) == [("catches", "caught")]  # `slept` is brought by the edit itself
    assert not by_ending(("catches", "caught"))
    assert reach(edit) == pytest.approx(1 / 6)  # six verbs take food
    assert reach(edit, by_ending) == pytest.approx(1 / 6)  # and none of them has a past by an ending


def test_forms_with_an_ending_are_chance_for_whole_words_and_known_for_letters() -> None:
    edit = edited(
        "this bat waits in winter", "this", "these owls found nuts", "these", "these bats wait in winter"
    )  # fmt: skip
    assert sorted(changes(edit)) == [("bat", "bats"), ("waits", "wait")]
    assert reach(edit) == pytest.approx(1 / 16 * 1 / 6)  # sixteen animals, six verbs of rest
    assert reach(edit, by_ending) == 1


def test_letters_leave_open_what_they_do_not_say() -> None:
    edit = edited("this goose waited", "this", "these owls found nuts", "these", "these geese waited")
    assert changes(edit) == [("goose", "geese")]
    assert reach(edit, by_ending) == pytest.approx(1 / 5)  # butterflies, deer mice, geese, mice, wolves
    assert by_ending(("rests", "rested"))
    assert reach(edit, lambda change: True) == 1


def test_words_without_forms_ask_for_nothing() -> None:
    edit = edited("a big bat rests", "big", "an old owl eats nuts", "old", "an old bat rests")
    assert changes(edit) == []
    assert reach(edit) == 1


@pytest.mark.parametrize("form", ["base", "third", "plural"])
def test_which_forms_are_of_one_word_is_not_in_the_corpus(form: Form, sentences: list[str]) -> None:
    """Forms of a kind change places, and sentences stay sentences with the same template, number, tense and so on."""
    rng, moved = random.Random(0), dict[str, str]()
    for words in WORDS.values():
        forms = [each[form] for each in words.values() if form in each and len(each) > 1]
        moved |= dict(zip(forms, rng.sample(forms, len(forms)), strict=True))
    pattern = re.compile(rf"\b({'|'.join(sorted(moved, key=len, reverse=True))})\b")
    changed = 0
    for sentence in sentences:
        other = pattern.sub(lambda found: moved[found[0]], sentence)
        before, after = factors_of(sentence), factors_of(other)
        assert before is not None and after is not None
        assert [before[name] for name in PROPERTIES] == [after[name] for name in PROPERTIES]
        changed += other != sentence
    assert changed > len(sentences) / 20


def test_no_sentence_has_two_forms_of_one_word(sentences: list[str]) -> None:
    for sentence in sentences:
        forms = set(forms_outside(sentence))
        assert len({(KIND_OF[form], KNOWN[KIND_OF[form]][form]) for form in forms}) == len(forms), sentence
