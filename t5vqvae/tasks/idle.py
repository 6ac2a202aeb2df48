"""Answers without a model: parts of the input, one constant text, or a training target drawn at random."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

from t5vqvae.tasks.base import Asked, Idle

BETWEEN = " </s> "
NUM_SAMPLED = 60
"""Training targets against which a constant is chosen."""


def of_each(answer: Callable[[str], str]) -> Idle:
    """Returns the idle answerer that reads one question at a time."""
    return lambda asked: [answer(question) for question in asked.questions]


def whole(question: str) -> str:
    """Returns the question itself."""
    return question.replace(BETWEEN, " ")


def first_premise(question: str) -> str:
    """Returns the first of two texts."""
    return question.split(BETWEEN)[0]


def second_premise(question: str) -> str:
    """Returns the last of two texts."""
    return question.split(BETWEEN)[-1]


def longer_premise(question: str) -> str:
    """Returns the text with more words; the first of two equal ones."""
    return max(question.split(BETWEEN), key=lambda text: len(text.split()))


def union(question: str) -> str:
    """Returns every different word of the input once, in its order."""
    return " ".join(dict.fromkeys(whole(question).split()))


def lead(question: str) -> str:
    """Returns the first sentence (lead-1)."""
    return re.split(r"(?<=[.!?])\s", question.strip(), maxsplit=1)[0]


def most_frequent(asked: Asked) -> list[str]:
    """Answers every question with the most frequent training target."""
    target, _ = Counter(pair.target for pair in asked.train).most_common(1)[0]
    return [target] * len(asked.questions)


def constant(asked: Asked) -> list[str]:
    """Answers every question with the one text that scores best on a sample of training targets.

    Candidates are training targets and lists of the most frequent words, which are no sentences but often score more.
    """
    rng = random.Random(f"{asked.seed} constant")
    targets = [pair.target for pair in asked.train]
    sample, drawn = (rng.sample(targets, min(NUM_SAMPLED, len(targets))) for _ in range(2))
    words = [word for word, _ in Counter(word for target in targets for word in target.split()).most_common(30)]
    candidates = [*drawn, *(" ".join(words[:number]) for number in range(1, len(words) + 1))]
    best = max(candidates, key=lambda text: sum(asked.score(target, text) for target in sample))
    return [best] * len(asked.questions)


def random_target(asked: Asked) -> list[str]:
    """Answers every question with a training target drawn at random."""
    rng = random.Random(f"{asked.seed} random target")
    return [rng.choice(asked.train).target for _ in asked.questions]


COMMON: dict[str, Idle] = {"one constant": constant, "random training target": random_target}
"""Those that every task has."""
