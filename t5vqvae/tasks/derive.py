"""The task `derive`: the derivative or integral of an expression, as the corpus `math` prints it."""

from __future__ import annotations

import re

from t5vqvae.evaluation.text_scores import bleu1
from t5vqvae.tasks.base import Task, asks
from t5vqvae.tasks.idle import COMMON, most_frequent, of_each, whole
from t5vqvae.tasks.scores import exact

_ASKED = re.compile(r"\\(int |frac\{(?:d|\\partial)\}\{)")


def operation(question: str) -> str:
    """Returns what a question wants: a derivative, an integral, or two of either in a relation."""
    asked = _ASKED.findall(question)
    if len(asked) != 1:
        return "two questions"
    return "integral" if asked[0] == "int " else "derivative"


TASK = Task(
    name="derive",
    question="What is the derivative or the integral of an expression?",
    fits=asks("math", task="derive"),
    scores={"exact_match": exact, "bleu1": bleu1},
    idle={"copy of the question": of_each(whole), "majority": most_frequent, **COMMON},
    of_all={},
    kind_of=operation,
)
