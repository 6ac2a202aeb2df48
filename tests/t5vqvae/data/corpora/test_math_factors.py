from __future__ import annotations

import pytest

from t5vqvae.data import MathCorpus
from t5vqvae.data.corpora.math_factors import PLACES, factors, placed
from t5vqvae.data.corpora.math_parser import parse


def test_worked_example() -> None:
    node = parse(r"- a + \frac{\sin^{n}{(x )}}{b c}")
    assert node is not None
    assert factors(node) == {
        "operation": "add",
        "operand": "divide",
        "functions": "sin",
        "terms": "2",
        "letters": "5",
        "minus": "first",
        "letter of term": "a",
        "letter of factor": "b",
        "letter of numerator": "none",
        "letter of denominator": "none",
        "letter of base": "none",
        "letter of exponent": "n",
        "letter of argument": "x",
        "letter of whole": "none",
    }
    places = {(str(each.head), place) for each, place in placed(node) if not each.parts}
    assert places == {("a", "term"), ("x", "argument"), ("n", "exponent"), ("b", "factor"), ("c", "factor")}


def test_every_text_of_a_corpus_has_the_same_factors() -> None:
    corpus = MathCorpus()
    names = {tuple(corpus.factors_of(text) or ()) for text in (r"\cos{(x )}", "a b", "a + b = a b", r"\frac{1}{x}")}
    assert len(names) == 1 and set(PLACES) == {name[10:] for name in names.pop() if name.startswith("letter of ")}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a + b", True),
        ("a + b = a b", True),
        ("a  + b", True),  # white space is compared as between splits
        ("a + b = b a", False),
        ("a = b = c", False),
        ("a", False),  # the generator drops what simplifies to a letter or a number
        ("2", False),
        (r"\frac{1}{2}", False),
        (r"\int a b\, da", False),
    ],
)
def test_validity(text: str, valid: bool) -> None:
    corpus = MathCorpus()
    assert corpus.is_valid(text) == (corpus.factors_of(text) is not None) == valid


def test_results_may_be_letters_and_numbers() -> None:
    corpus = MathCorpus(task="derive")
    assert all(map(corpus.is_valid, ("a", "-1", r"\int a b\, da = \frac{d}{d a} e^{a}")))
    found = corpus.factors_of(r"\int a b\, da") or {}
    assert (found["task"], found["by"], found["operation"]) == ("integrate", "a", "multiply")
