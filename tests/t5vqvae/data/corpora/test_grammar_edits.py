"""Edits of `grammar` version 2: examples worked by hand, and laws over thousands of edits."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from t5vqvae.data import GrammarCorpus
from t5vqvae.data.corpora.corpus import Corpus
from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.grammar_edits import edits_between
from t5vqvae.data.corpora.grammar_parser import factors_of, parse
from t5vqvae.data.corpora.grammar_sentences import PROPERTIES, write
from t5vqvae.errors import DataError

CORPUS = GrammarCorpus(version=2, size=3_000, validation_size=1_500, test_size=500)
LOCAL = {
    "ARG0", "ARG1", "ARG2", "V", "V2", "size", "ARGM-LOC", "ARGM-TMP", "ARGM-PRP", "ARGM-MNR", "number", "tense",
    "negation",
}  # fmt: skip
DISTRIBUTED = {"article", "agreement", "demonstrative", "tense_sequence", "negation_scope", "voice"}
BEHIND = {"article": set(LOCAL) - {"number", "tense", "negation"}, "agreement": {"number", "ARG1"},
          "demonstrative": {"number"}, "tense_sequence": {"tense"}, "negation_scope": {"negation"}}  # fmt: skip
"""What an edit of a distributed factor gives another value, in terms of `factors_of`."""


@cache
def corpus() -> Corpus:
    return CORPUS.load(Path())


@cache
def many() -> tuple[Edit, ...]:
    return tuple(CORPUS.edits(Path(), "validation", 200, seed=0))


def own(edit: Edit) -> tuple[str, str]:
    return edit.source[slice(*edit.source_span)], edit.donor[slice(*edit.donor_span)]


def factors(text: str) -> dict[str, str]:
    found = factors_of(text)
    assert found is not None, text
    return found


def changed(text: str, other: str) -> set[str]:
    before, after = factors(text), factors(other)
    return {name for name in before if before[name] != after[name]}


def only(sources: list[str], factor: str, elsewhere: list[str] | None = None) -> list[Edit]:
    return [edit for edit in edits_between(sources, elsewhere or [], 10, seed=0) if edit.factor == factor]


def test_number_comes_from_a_donor_that_shares_the_noun_alone() -> None:
    source, donor = "a bat eats honey and sleeps in a cave", "bats did not keep their teeth for hunting in spring"
    first = next(edit for edit in only([source, donor], "agreement") if edit.source == source)
    assert first == Edit(
        source, donor,
        answer="bats eat honey and sleep in a cave",
        contrast="a bat did not keep its tooth for hunting in spring",
        factor="agreement", kind="distributed", source_span=(0, 5), donor_span=(0, 4),
    )  # fmt: skip


def test_tense_over_two_verbs_comes_from_the_first() -> None:
    source, donor = "a bat eats honey and sleeps in a cave", "owls ate some nuts in an attic at noon"
    (edit,) = [edit for edit in only([source, donor], "tense_sequence") if edit.source == source]
    assert edit.answer == "a bat ate honey and slept in a cave" and own(edit) == ("eats", "ate")
    assert edit.contrast == "owls eat some nuts in an attic at noon"


def test_negation_reaches_words_behind_it() -> None:
    source, donor = "a bat eats honey and sleeps in a cave", "the owl does not eat any nuts in an attic at noon"
    (edit,) = [edit for edit in only([source, donor], "negation_scope") if edit.source == source]
    assert edit.answer == "a bat does not eat honey or sleep in a cave" and own(edit) == ("eats", "does not eat")
    assert edit.contrast == "the owl eats some nuts in an attic at noon"


def test_a_size_is_local_until_the_article_changes() -> None:
    source = "a big bat eats honey and sleeps in a cave"
    same, other = "this tiny magnet moves a nail slowly", "this old magnet moves a nail slowly"
    assert [edit.answer for edit in only([source, same], "size") if edit.source == source] == [
        "a tiny bat eats honey and sleeps in a cave"
    ]
    (edit,) = [edit for edit in only([source, other], "article") if edit.source == source]
    assert edit.answer == "an old bat eats honey and sleeps in a cave" and own(edit) == ("big", "old")


def test_voice_moves_the_arguments() -> None:
    source, donor = "a bat eats honey at night too", "fruit is eaten by the owl at noon too"
    (edit,) = [edit for edit in only([source, donor], "voice") if edit.source == source]
    assert edit.answer == "honey is eaten by a bat at night too" and own(edit) == ("eats", "is eaten")
    assert edit.contrast == "the owl eats fruit at noon too"


def test_a_donor_shares_no_filler() -> None:
    source, donor = "a bat eats honey and sleeps in a cave", "owls ate some honey in an attic at noon"
    assert not only([source, donor], "tense_sequence"), "both eat honey"


def test_an_answer_or_contrast_of_another_split_is_refused() -> None:
    source, donor = "a bat eats honey and sleeps in a cave", "owls ate some nuts in an attic at noon"
    for elsewhere in ("a bat ate honey and slept in a cave", "owls eat some nuts in an attic at noon"):
        assert not [edit for edit in only([source, donor], "tense_sequence", [elsewhere]) if edit.source == source]


def test_there_are_edits_of_every_factor_and_each_has_one_kind() -> None:
    kinds, counts = defaultdict(set), Counter(edit.factor for edit in many())
    for edit in many():
        kinds[edit.factor].add(edit.kind)
    assert kinds == {**{name: {"local"} for name in LOCAL}, **{name: {"distributed"} for name in DISTRIBUTED}}
    assert all(100 < counts[name] <= 200 for name in LOCAL | DISTRIBUTED), counts
    assert len(set(many())) == len(many())


def test_the_answer_is_the_source_with_one_other_value() -> None:
    for edit in many():
        behind = BEHIND.get(edit.factor, {edit.factor})
        (name,) = changed(edit.source, edit.answer)
        assert name in behind, edit
        assert changed(edit.donor, edit.contrast) == {name}
        assert factors(edit.answer)[name] == factors(edit.donor)[name]
        assert factors(edit.contrast)[name] == factors(edit.source)[name]


def test_the_donors_own_words_stand_in_the_answer() -> None:
    for edit in many():
        meaning = parse(edit.answer)
        assert meaning is not None
        _, donated = own(edit)
        spans = [edit.answer[slice(*span)] for span in write(meaning).spans.values()]
        assert donated in spans, edit
        before, after = edit.source[: edit.source_span[0]], edit.source[edit.source_span[1] :]
        assert (before + donated + after == edit.answer) == (edit.kind == "local"), edit


def test_donors_differ_in_every_other_role() -> None:
    for edit in many():
        source, donor = factors(edit.source), factors(edit.donor)
        name = next(iter(changed(edit.source, edit.answer)))
        shared = {role for role in source if "none" not in (source[role], donor[role])} & (LOCAL - set(PROPERTIES))
        same = {role for role in shared if source[role] == donor[role]}
        # The own words of a property may hold one filler: the noun of a number, the verb of a tense, negation or voice.
        within = {"number": {"ARG0", "ARG1"}, "tense": {"V"}, "negation": {"V"}, "voice": {"V"}}.get(name, set())
        assert same <= within and len(same) <= 1, (same, edit)
        assert edit.factor != "demonstrative" or not same


def test_other_properties_differ_more_often_than_not() -> None:
    differ = Counter[str]()
    for edit in many():
        name, others = next(iter(changed(edit.source, edit.answer))), changed(edit.source, edit.donor)
        differ.update(other for other in others if other != name)
    for name in ("number", "tense", "negation"):
        assert differ[name] > 0.5 * sum(name not in changed(edit.source, edit.answer) for edit in many()), name


@pytest.mark.parametrize("split", ["validation", "test"])
def test_edits_lie_in_their_split_or_in_none(split: str) -> None:
    texts = {name: {example.source for example in examples} for name, examples in corpus().splits.items()}
    others = set.union(*(some for name, some in texts.items() if name != split))
    edits = many() if split == "validation" else CORPUS.edits(Path(), "test", 30, seed=0)
    assert len(edits) > 300
    for edit in edits:
        assert {edit.source, edit.donor} <= texts[split]
        assert not {edit.answer, edit.contrast} & others


def test_edits_depend_on_the_seed_and_a_larger_number_only_adds() -> None:
    sources = [example.source for example in corpus().test]
    some, more = edits_between(sources, [], 5, seed=1), edits_between(sources, [], 30, seed=1)
    assert some == edits_between(sources, [], 5, seed=1) and set(some) < set(more)
    assert some != edits_between(sources, [], 5, seed=2)
    assert max(Counter(edit.factor for edit in some).values()) == 5


def test_version_1_has_no_edits() -> None:
    first = GrammarCorpus()
    assert not first.has_edits and CORPUS.has_edits
    for call in (
        lambda: first.edits(Path(), "validation", 1, 0),
        lambda: first.is_valid("a bat"),
        lambda: first.factors_of("a bat"),
    ):
        with pytest.raises(DataError, match=r"data\.corpus\.version=2"):
            call()


def test_every_sentence_is_valid() -> None:
    assert all(CORPUS.is_valid(example.source) for example in corpus().test)
    assert not CORPUS.is_valid("a old bat is a kind of animal")
    assert CORPUS.is_valid(" an old bat is a  kind of animal"), "tokenizers do not keep runs of white space"
