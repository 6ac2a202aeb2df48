from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import sympy

from t5vqvae.data import Corpus, MathCorpus
from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora import math as math_corpus
from t5vqvae.data.corpora.expressions import BINARY, GREEK, LETTERS, UNARY, Tree
from t5vqvae.errors import DataError

SMALL = {"size": 300, "validation_size": 60, "test_size": 60}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return MathCorpus(**SMALL).load(tmp_path_factory.mktemp("cache"))


def test_letters_are_those_of_the_reference() -> None:
    assert len(LETTERS) == 48
    assert not set("iedO") & set(LETTERS)


@pytest.mark.parametrize(
    ("tree", "printed"),
    [
        (("cos", "x"), r"\cos{(x )}"),
        (("divide", ("log", "a"), "b"), r"\frac{\log{(a )}}{b}"),
        (("add", "y", "x"), "x + y"),
        (("subtract", "b", "a"), "- a + b"),
        (("power", ("multiply", "b", "a"), "c"), "(a b)^{c}"),
        (("exp", "x"), "e^{x}"),
        (("cos", "lambda"), r"\cos{(\lambda )}"),
    ],
)
def test_worked_examples(tree: Tree, printed: str) -> None:
    assert expressions.print_expression(tree) == printed


def test_prints_what_sympy_prints() -> None:
    """The short-cut by shapes gives the printer's own output, of Latin and Greek letters, short and long."""
    rng = random.Random(5)
    for number in range(250):
        tree = expressions.draw(rng, number % 4)
        if number % 3 == 0:
            tree = expressions.rename(tree, expressions.in_greek(tree, rng))
        direct = sympy.latex(expressions.evaluate(tree)).replace(r"\left", "").replace(r"\right", "")
        assert expressions.print_expression(tree) == direct


@pytest.mark.parametrize(
    "tree", [("divide", ("multiply", "x", "y"), "y"), ("log", ("exp", "a")), ("subtract", "a", "a")]
)
def test_what_simplifies_away_is_no_expression(tree: Tree) -> None:
    expected = [] if tree[0] != "log" else ["a"]
    assert expressions.letters_of(tree) == expected


def test_worked_tasks() -> None:
    source, target = expressions.print_task(("multiply", "a", ("cos", "x")), "diff", "x") or ("", "")
    assert source == r"\frac{\partial}{\partial x} a \cos{(x )}"
    assert target == r"- a \sin{(x )}"
    assert expressions.print_task(("power", "x", "n"), "integrate", "x") == (
        r"\int x^{n}\, dx",
        r"\frac{x^{n + 1}}{n + 1}",
    )
    assert expressions.print_task(("exp", ("power", "x", "y")), "integrate", "x") is None


def test_every_integral_of_one_further_operation_is_right() -> None:
    """The derivative of the answer is the expression, at a point where all is real."""
    starts: list[Tree] = [(kind, "a") for kind in UNARY] + [(kind, "a", "b") for kind in BINARY]
    trees = starts + [(kind, start) for kind in UNARY for start in starts]
    trees += [(kind, start, letter) for kind in BINARY for start in starts for letter in "ac"]
    point = {sympy.Symbol("a"): 2.3, sympy.Symbol("b"): 1.7, sympy.Symbol("c"): 3.1}
    checked = 0
    for tree in trees:
        for letter in expressions.letters_of(tree):
            answer = expressions.derive(tree, "integrate", letter)
            if answer is not None:
                error = (sympy.diff(answer, sympy.Symbol(letter)) - expressions.evaluate(tree)).subs(point)
                assert abs(complex(error.evalf())) < 1e-9, tree
                checked += 1
    assert checked > 150


def test_sizes_and_kinds_of_test_sets(corpus: Corpus) -> None:
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (300, 60, 60)
    assert set(corpus.extra_tests) == {"VAR", "EASY", "EQ", "LEN"}
    assert len(corpus.extra_tests["EASY"]) == len(corpus.extra_tests["LEN"]) == 60
    for example in corpus.extra_tests["VAR"]:
        letters = re.sub(r"\\(cos|sin|log|frac)", "", example.source).replace("e^", "")
        assert any(rf"\{greek}" in letters for greek in GREEK)
        assert not re.search(r"(?<![\\a-z])[a-zA-Z](?![a-z])", letters)
    assert all(example.source.count(" = ") == 1 for example in corpus.extra_tests["EQ"])
    assert all(re.fullmatch(r"\\frac\{[a-zA-Z]\}\{[a-zA-Z]\}", e.source) for e in corpus.extra_tests["EASY"])


def test_easy_kind_is_held_out_from_the_rest(tmp_path: Path) -> None:
    corpus = MathCorpus(**SMALL | {"easy_kind": "cos"}).load(tmp_path)
    bare = {rf"\cos{{({letter} )}}" for letter in LETTERS}
    assert {example.source for example in corpus.extra_tests["EASY"]} == bare
    for name in ("train", "validation", "test"):
        assert not bare & {example.source for example in corpus.splits[name]}


def test_longer_means_longer(corpus: Corpus) -> None:
    def mean(examples: object) -> float:
        lengths = [len(example.source) for example in examples]  # type: ignore[attr-defined]
        return sum(lengths) / len(lengths)

    assert mean(corpus.extra_tests["LEN"]) > 1.5 * mean(corpus.test)


def test_test_sets_do_not_depend_on_the_size(corpus: Corpus, tmp_path: Path) -> None:
    larger = MathCorpus(**SMALL | {"size": 900}).load(tmp_path)
    assert larger.test == corpus.test and larger.validation == corpus.validation
    for name in ("VAR", "EASY", "EQ"):
        assert larger.extra_tests[name] == corpus.extra_tests[name]
    assert list(larger.train[:300]) == corpus.train


def test_longer_ones_that_are_elsewhere_are_left_out(corpus: Corpus) -> None:
    sources = {example.source for example in corpus.extra_tests["LEN"][:20]}
    others = math_corpus._longer(MathCorpus(**SMALL), frozenset(), sources)
    assert len(others) == 60 and not sources & {example.source for example in others}


def test_seed_decides(corpus: Corpus, tmp_path: Path) -> None:
    assert MathCorpus(**SMALL).load(tmp_path).fingerprint == corpus.fingerprint
    assert MathCorpus(**SMALL, seed=1).load(tmp_path).fingerprint != corpus.fingerprint


def test_derive_pairs(tmp_path: Path) -> None:
    corpus = MathCorpus(size=60, validation_size=10, test_size=10, task="derive", num_further=0).load(tmp_path)
    assert all(example.target is not None for examples in corpus.splits.values() for example in examples)
    operations = {example.source[: example.source.index(" ")] for example in corpus.train}
    assert any(operation.startswith(r"\int") for operation in operations)
    assert any(operation.startswith(r"\frac{d}") for operation in operations)


def test_more_than_there_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_corpus, "MAX_IDLE_DRAWS", 300)
    with pytest.raises(DataError, match=r"data.corpus.size=50000 .* of 50000 train"):
        MathCorpus(size=50_000, validation_size=5, test_size=5, num_further=0).load(tmp_path)
