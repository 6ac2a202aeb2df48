from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import sympy

from t5vqvae.data import Example, MathCorpus
from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.edits import Edit
from t5vqvae.data.corpora.expressions import Tree
from t5vqvae.data.corpora.math_edits import FACTORS, Drawn, draw_edits
from t5vqvae.data.tokenizer import TokenizerConfig, build_tokenizer
from t5vqvae.errors import DataError

WORD = re.compile(r"\\[a-z]+|[A-Za-z]|[0-9]+")
FUNCTIONS = {r"\cos": sympy.cos, r"\sin": sympy.sin, r"\log": sympy.log}
PER_FACTOR = 40


@pytest.fixture(scope="module")
def trees() -> dict[str, Tree]:
    """Expressions of up to two further operations, by what they print."""
    rng = random.Random(11)
    drawn = [expressions.draw(rng, number % 3) for number in range(900)]
    return {expressions.print_expression(tree): tree for tree in drawn if expressions.letters_of(tree)}


@pytest.fixture(scope="module")
def drawn(trees: dict[str, Tree]) -> Drawn:
    return draw_edits(list(trees), (), PER_FACTOR, random.Random(0))


def own_words(edit: Edit) -> tuple[str, str]:
    """Returns the words of the span in source and donor: the old and the new value."""
    return edit.source[slice(*edit.source_span)], edit.donor[slice(*edit.donor_span)]


def substituted(tree: Tree, edit: Edit) -> set[str]:
    """Returns what SymPy prints for the edit of an expression; several where the span does not say which part."""
    expression = expressions.evaluate(tree)
    old, new = own_words(edit)
    if edit.factor.endswith("variable"):
        found = [expression.xreplace({sympy.Symbol(old): sympy.Symbol(new)})]
    elif edit.factor == "function":
        applied = [each for each in expression.atoms(FUNCTIONS[old]) if isinstance(each, FUNCTIONS[old])]
        found = [expression.xreplace({each: FUNCTIONS[new](each.args[0])}) for each in applied]
    else:
        sums = expression.atoms(sympy.Add)
        found = [expression.xreplace({each: each - 2 * term}) for each in sums for term in each.args]
    return {sympy.latex(each).replace(r"\left", "").replace(r"\right", "") for each in found}


def test_every_factor_has_edits(drawn: Drawn) -> None:
    assert Counter(edit.factor for edit in drawn.edits) == dict.fromkeys(FACTORS, PER_FACTOR)
    assert len(set(drawn.edits)) == len(drawn.edits)


def test_answers_are_what_sympy_prints_after_the_substitution(drawn: Drawn, trees: dict[str, Tree]) -> None:
    """The answer follows from the generator's tree, without the parser; the contrast from the donor's."""
    for edit in drawn.edits:
        assert edit.answer in substituted(trees[edit.source], edit)
        back = Edit(edit.donor, edit.source, *[""] * 2, edit.factor, edit.kind, edit.donor_span, edit.source_span)
        assert edit.contrast in substituted(trees[edit.donor], back)


def test_kinds_say_what_changes_outside_of_the_span(drawn: Drawn) -> None:
    for edit in drawn.edits:
        start, end = edit.source_span
        local = edit.source[:start] + own_words(edit)[1] + edit.source[end:] == edit.answer
        assert local == (edit.kind == "local") == (edit.factor != "repeated_variable")


def test_spans_hold_the_words(drawn: Drawn) -> None:
    for edit in drawn.edits:
        old, new = own_words(edit)
        assert old != new
        if edit.factor == "sign":
            assert {old, new} == {"+", "-"}
        elif edit.factor == "function":
            assert {old, new} < set(FUNCTIONS)
        else:
            words = WORD.findall(edit.source)
            assert {old, new} < set(expressions.LETTERS)
            assert (words.count(old) > 1) == (edit.factor == "repeated_variable")
            assert WORD.findall(edit.source[: edit.source_span[0]]).count(old) == 0


def test_spans_hold_one_token_of_the_corpus_tokenizer(drawn: Drawn, trees: dict[str, Tree], tmp_path: Path) -> None:
    tokenizer = build_tokenizer(TokenizerConfig(), [Example(text) for text in trees], "latex", None, tmp_path)
    for edit in drawn.edits:
        for text, span in ((edit.source, edit.source_span), (edit.donor, edit.donor_span)):
            assert span in tokenizer(text, return_offsets_mapping=True)["offset_mapping"]


def test_source_and_donor_share_no_word(drawn: Drawn) -> None:
    for edit in drawn.edits:
        shared = set(WORD.findall(edit.source)) & set(WORD.findall(edit.donor))
        assert shared <= {r"\frac"}


def test_the_donor_has_the_value_in_the_same_kind_of_place() -> None:
    texts = ["a^{b}", "f^{g}", "h k", r"\cos{(l )}"]
    found = draw_edits(texts, (), 100, random.Random(0))
    pairs = {(edit.source, *own_words(edit)) for edit in found.edits}
    assert pairs == {("a^{b}", "a", "f"), ("a^{b}", "b", "g"), ("f^{g}", "f", "a"), ("f^{g}", "g", "b")}


def test_edits_that_move_words_are_left_out_and_counted() -> None:
    """Of a c and b f g, a becoming b stays in place; a becoming f or g would print after c."""
    found = draw_edits(["a c", "b f g"], (), 100, random.Random(0))
    assert ("a c", "b c") in {(edit.source, edit.answer) for edit in found.edits}
    assert not {"f c", "g c", "c f", "c g"} & {edit.answer for edit in found.edits}
    assert found.left_out["variable"]["reordered"] > 0


def test_answers_and_contrasts_in_other_splits_are_left_out(drawn: Drawn, trees: dict[str, Tree]) -> None:
    elsewhere = {edit.answer for edit in drawn.edits[::2]} | {edit.contrast for edit in drawn.edits[1::2]}
    elsewhere -= set(trees)
    again = draw_edits(list(trees), elsewhere, PER_FACTOR, random.Random(0))
    assert not elsewhere & {text for edit in again.edits for text in (edit.answer, edit.contrast)}
    assert again.left_out["variable"]["in another split"] > 0


@pytest.mark.parametrize("split", ["validation", "test"])
def test_edits_of_a_corpus_lie_in_its_split(split: str, tmp_path: Path) -> None:
    corpus = MathCorpus(size=2_000, validation_size=150, test_size=150, num_further=2)
    splits = {name: {each.source for each in found} for name, found in corpus.load(tmp_path).splits.items()}
    own = splits.pop(split)
    edits = corpus.edits(tmp_path, split, 20, 0)  # type: ignore[arg-type]
    assert {edit.source for edit in edits} | {edit.donor for edit in edits} <= own
    answers = {text for edit in edits for text in (edit.answer, edit.contrast)}
    assert not answers & set().union(*splits.values())
    assert all(map(corpus.is_valid, answers))
    assert edits == corpus.edits(tmp_path, split, 20, 0) != corpus.edits(tmp_path, split, 20, 1)  # type: ignore[arg-type]
    assert {edit.kind for edit in edits} == {"local", "distributed"}


def test_derivations_have_no_edits(tmp_path: Path) -> None:
    corpus = MathCorpus(task="derive")
    assert not corpus.has_edits
    with pytest.raises(DataError, match=r"task=derive has no edits .* take data.corpus.task=reconstruct"):
        corpus.edits(tmp_path, "test", 10, 0)
