"""Answers are judged by meaning: form does not count, a remainder and an operation that is only written down do."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from t5vqvae.data import MathCorpus
from t5vqvae.data.corpora import math_meaning
from t5vqvae.data.corpora.expressions import LETTERS
from t5vqvae.data.corpora.math_meaning import judge
from t5vqvae.spec.run import RunSpec

BY_X = r"\frac{d}{d x} "
POWER = r"(- U + \cos{(J )})^{P} \log{(- U + \cos{(J )} )}"
CASES = [
    (r"x + y", "x + y", "right"),
    (r"x + y", "x - y", "wrong"),
    (r"x + y", "x + y )", "wrong"),
    (r"x + y", "x +", "wrong"),
    (r"x + y", "x + z", "wrong"),
    (BY_X + r"\sin{(x )}", r"\cos{(x )}", "right"),
    (BY_X + r"\sin{(x )}", r"- \cos{(x )}", "wrong"),
    (BY_X + r"\sin{(x )}", BY_X + r"\sin{(x )}", "wrong"),
    (r"\int \cos{(x )}\, dx", r"\sin{(x )}", "right"),
    (r"\int \cos{(x )}\, dx", r"\sin{(x )} + 7", "right"),
    (r"\int \cos{(x )}\, dx", r"y + \sin{(x )}", "right"),
    (r"\int \cos{(x )}\, dx", r"\cos{(x )}", "wrong"),
    (r"\int \cos{(x )}\, dx", r"\int \cos{(x )}\, dx", "wrong"),
    (BY_X + r"\sin{(x )} = " + BY_X + r"\log{(x )}", r"\cos{(x )} = \frac{1}{x}", "right"),
    (BY_X + r"\sin{(x )} = " + BY_X + r"\log{(x )}", r"\frac{1}{x} = \cos{(x )}", "wrong"),
    (r"x + y = e^{x}", "x + y", "wrong"),
    (r"x + y \sim e^{x}", r"x + y \approx e^{x}", "wrong"),
    (r"\frac{x}{\log{(x^{x} )}}", r"\frac{x}{x \log{(x )}}", "wrong"),
    ("б + г", "б + г", "right"),
    ("б + г", "г + б", "wrong"),  # the printer prints names in their order
    ("б + г", "б - г", "wrong"),
    ("б + г", "б + ג", "wrong"),
    ("б + г", "б + г )", "wrong"),
    ("б + г", "A + B", "wrong"),
    ("क \\leq あ", "क \\leq あ", "right"),
    (r"\epsilon + \zeta", r"\epsilon + \zeta", "right"),
    (r"\qXb + x", r"\qXb + x", "right"),
    (r"\qXb + x", r"\qXc + x", "wrong"),
    (r"\frac{d}{d \zeta} \sin{(\zeta )}", r"\cos{(\zeta )}", "right"),
    (r"\frac{d}{d \zeta} \sin{(\zeta )}", r"\cos{(\xi )}", "wrong"),
    (r"\frac{\partial}{\partial \zeta} \chi \zeta", r"\chi", "right"),
    (r"\frac{\partial}{\partial \zeta} \chi \zeta", r"\zeta", "wrong"),
    (r"\int \cos{(ж )}\, dж", r"\sin{(ж )} + 7", "right"),
    (r"\int \cos{(ж )}\, dж", r"\int \cos{(ж )}\, dж", "wrong"),
    (r"x + y", r"x + \alpha", "wrong"),
    (r"x + y", "x + " + " ".join(LETTERS) + r" \zeta", "wrong"),
    (r"\frac{\partial}{\partial P} (- U + \cos{(J )})^{P}", POWER, "right"),
    (r"\frac{\partial}{\partial P} (- U + \cos{(J )})^{P}", "2 " + POWER, "wrong"),
    (r"\log{(x^{2} )}", r"2 \log{(x )}", "right"),
    ("0", "0", "right"),
    ("0", "1", "wrong"),
    ("e^{- e^{e^{e^{x}}}}", "0", "undecided"),
    ("x + e^{- e^{e^{x}}}", "0", "wrong"),
    ("- e^{- e^{e^{e^{x}}}}", "e^{- e^{e^{e^{x}}}}", "undecided"),
    ("x ² y", "x ² y", "undecided"),
    ("y + x", "x +", "undecided"),
]


@pytest.mark.parametrize(("source", "answer", "verdict"), CASES)
def test_worked_verdicts(source: str, answer: str, verdict: str) -> None:
    assert judge(source, answer) == verdict


def test_another_form_is_right() -> None:
    assert judge(r"\frac{d}{d x} x^{2}", "2 x") == "right"
    assert judge(r"\int x\, dx", r"\frac{x^{2}}{2}") == "right"


def test_answers_of_the_corpus_are_right_and_never_undecided(tmp_path: object) -> None:
    corpus = MathCorpus(task="derive", size=150, validation_size=5, test_size=20).load(tmp_path)  # type: ignore[arg-type]
    verdicts = [judge(e.source, e.target or "") for e in (*corpus.train, *corpus.extra_tests["LEN"])]
    assert verdicts.count("wrong") == 0 and verdicts.count("undecided") <= 0.05 * len(verdicts)
    others = [judge(a.source, b.target or "") for a, b in zip(corpus.train, corpus.train[1:], strict=False)]
    assert others.count("right") <= 0.05 * len(others)


def test_answers_in_the_symbols_of_twins_and_harder_tests_are_right(tmp_path: Path) -> None:
    config = MathCorpus(task="derive", size=100, validation_size=20, test_size=20)
    corpus = config.load(tmp_path)
    for name, examples in {**config.twins(corpus, 10), **config.harder_tests(corpus, 10)}.items():
        verdicts = [judge(e.source, e.target or "") for e in examples]
        assert verdicts and "wrong" not in verdicts and verdicts.count("undecided") <= 3, name
        others = [judge(a.source, b.target or "") for a, b in itertools.pairwise(examples)]
        assert others.count("right") <= 2, name


def _nested(exponent: str) -> str:
    text = r"\log{(x )}"
    for _ in range(36):
        text = rf"\tan^{{{exponent} x}}{{(x + {text} )}}"
    return text


def test_an_answer_that_keeps_sympy_busy_is_wrong_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = " + ".join(map(_nested, LETTERS[:8]))  # what the printer prints, and its derivative takes many seconds
    monkeypatch.setattr(math_meaning, "SECONDS", 0.5)
    running, started = threading.active_count(), time.process_time()
    assert judge(r"\int x\, dx", answer) == "wrong"
    assert 0.5 <= time.process_time() - started < 2.5 and threading.active_count() == running
    assert judge("x + y", "x + y") == "right"


def test_too_few_points_decide_nothing() -> None:
    tower = "e^{e^{e^{e^{e^{x}}}}}"
    assert judge(tower, tower) == "undecided"


def test_only_a_corpus_with_answers_is_judged() -> None:
    with pytest.raises(Exception, match=r"evaluate.meaning=true needs answers .* data.corpus.name=grammar has none"):
        RunSpec().with_overrides({"data.corpus.name": "grammar", "evaluate.meaning": True})
