from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import sympy

from t5vqvae.data import MathCorpus
from t5vqvae.data.corpora import expressions
from t5vqvae.data.corpora.math_parser import Node, parse, parse_question

SIZES = {"size": 1_500, "validation_size": 150, "test_size": 150}


@pytest.mark.parametrize("num_further", [1, 3])
def test_reads_every_expression_of_every_split(num_further: int, tmp_path: Path) -> None:
    corpus = MathCorpus(**SIZES, num_further=num_further)
    for name, examples in corpus.load(tmp_path).splits.items():
        refused = [example.source for example in examples if not corpus.is_valid(example.source)]
        assert not refused, name


def test_reads_every_task_and_result_of_every_split(tmp_path: Path) -> None:
    corpus = MathCorpus(size=200, validation_size=40, test_size=40, task="derive")
    for name, examples in corpus.load(tmp_path).splits.items():
        texts = [text for example in examples for text in (example.source, example.text)]
        assert not [text for text in texts if not corpus.is_valid(text)], name


def test_worked_example() -> None:
    r"""The sum `- a + \sin^{b}{(c )}` with the places of its own words."""
    a = Node("a", (), ((2, 3),))
    sine = Node("sin", (Node("c", (), ((16, 17),)),), ((6, 10),))
    power = Node("power", (sine, Node("b", (), ((12, 13),))))
    assert parse(r"- a + \sin^{b}{(c )}") == Node("add", (Node("negate", (a,)), power), ((4, 5),))


@pytest.mark.parametrize(
    "text",
    [
        "b + a",  # the printer writes a + b
        "b a",
        "x + x",
        r"\frac{x}{x}",
        r"\frac{x y}{y}",
        r"- (a + b)",
        r"2 (a + b)",
        "(x)",
        "(a b)",
        "x^{y}^{z}",
        "x - - y",
        "x  y",
        "x +  y",
        " x + y",
        "x + y ",
        "x + y z)",
        "(x + y",
        r"\sin{(x)}",
        r"\sin(x )",
        r"\log^{y}{(x )}",
        r"\sin{(x )}^{y}",
        r"\cos{(- x )}",
        r"\exp{(x )}",
        r"\tanh{(x )}",
        r"\alpha + b",
        "e + x",
        "i + x",
        "e^{x",
        r"\frac{x}",
        r"\frac{1}{0}",
        "x^{1}",
        "x^{²}",
        r"\int x\, dx",
        r"\sqrt{x}",
        "",
    ],
)
def test_refuses_what_is_never_printed(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9}}",
        "(x + 9)^{99}",
        "(((x + 9)^{9} + 9)^{9} + 9)^{9}",
        "(x - x + 9)^{9}",
        "(2 x - 3 x + 9)^{9}",
        "(" * 2_000,
        "x^{" * 500 + "x" + "}" * 500,
    ],
)
def test_refuses_at_once_what_would_keep_sympy_busy(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "evaluate", lambda tree: pytest.fail(f"{text[:20]} was evaluated"))
    assert parse(text) is None


def test_refuses_more_letters_than_a_shape_has() -> None:
    assert parse(" ".join(sorted(expressions.LETTERS[:17]))) is None


def test_what_is_read_after_damage_is_what_sympy_prints() -> None:
    """Damaged sums and products are read exactly when SymPy's own parser and printer return them."""
    rng = random.Random(3)
    texts = [expressions.print_expression(expressions.draw(rng, number % 3)) for number in range(1_500)]
    plain = [text for text in texts if "\\" not in text and "^" not in text]
    outcomes = []
    for text in plain:
        tokens = list(text)
        tokens[rng.randrange(len(tokens))] = rng.choice(rng.choice(plain))
        outcomes.append(parse("".join(tokens)) is not None)
        assert outcomes[-1] == _prints_as_itself("".join(tokens)), tokens
    assert 20 < sum(outcomes) < len(outcomes) - 20


def _prints_as_itself(text: str) -> bool:
    names = {name: sympy.Symbol(name) for name in expressions.LETTERS}
    code = re.sub(r"(?<=[A-Za-z)]) (?=[A-Za-z(])", "*", text)
    if not re.fullmatch(r"[A-Za-z()*+ -]*", code) or re.search(r"[A-Za-z]{2}|[A-Za-z]\(", code):
        return False
    try:
        read = sympy.sympify(code, names)
    except (sympy.SympifyError, TypeError):
        return False
    return str(sympy.latex(read)).replace(r"\left", "").replace(r"\right", "") == text


@pytest.mark.parametrize(
    ("text", "operation", "letter"),
    [
        (r"\frac{d}{d x} \cos{(x )}", "diff", "x"),
        (r"\frac{\partial}{\partial \beta} \alpha \beta", "diff", "beta"),
        (r"\int (W + z)\, dW", "integrate", "W"),
        (r"\int e^{\mu}\, d\mu", "integrate", "mu"),
    ],
)
def test_reads_tasks(text: str, operation: str, letter: str) -> None:
    assert (parse_question(text) or ())[:2] == (operation, letter)


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{\partial}{\partial x} \cos{(x )}",  # of one letter the printer writes d
        r"\frac{d}{d y} \cos{(x )}",
        r"\frac{d}{\partial x} \cos{(x )}",
        r"\int W + z\, dW",
        r"\int W dW",
        r"\int W\, dZ",
        r"\cos{(x )}",
    ],
)
def test_refuses_tasks_that_are_never_printed(text: str) -> None:
    assert parse_question(text) is None
