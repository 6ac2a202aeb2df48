"""A task: which corpora ask it, its scores, and the answers of those who do nothing.

A task is trained and searched as everything else is: its corpus gives a source and a target. What a task adds is the
judgement: a model counts as having learnt it only if its score's interval lies above every idle answer.

To add a task, write one file with a `Task`, and import it in `all_tasks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from t5vqvae.data import CorpusConfig

Score = Callable[[str, str], float]
"""From the target and an answer to a number, higher is better."""
Idle = Callable[["Asked"], list[str]]
"""Answers every question without a model."""


@dataclass(frozen=True)
class Pair:
    """A question and its right answer.

    Attributes:
        source: The text that is encoded; two premises have ` </s> ` between them.
        target: The right answer.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Asked:
    """What an idle answerer may read: training pairs, questions without answers, the task's main score and a seed."""

    train: Sequence[Pair]
    questions: Sequence[str]
    score: Score
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """A question for a model, and how its answers are judged.

    Attributes:
        name: Its name.
        question: The question, in a sentence.
        fits: Whether a corpus asks it.
        scores: Scores of one answer by name; the first is the one that decides.
        of_all: Scores of all answers together, from targets and answers, such as distinct-n.
        idle: Answers of those who do nothing, by name.
        kind_of: Returns the kind of a question, by which the model's main score is given apart; None: there are none.
    """

    name: str
    question: str
    fits: Callable[[CorpusConfig], bool]
    scores: Mapping[str, Score]
    idle: Mapping[str, Idle]
    of_all: Mapping[str, Callable[[Sequence[str], Sequence[str]], float]]
    kind_of: Callable[[str], str] | None = None

    @property
    def main_score(self) -> str:
        """The name of the score that decides."""
        return next(iter(self.scores))


def asks(name: str, **settings: object) -> Callable[[CorpusConfig], bool]:
    """Returns whether a corpus has a name and settings, as a function of the corpus."""
    return lambda corpus: (
        getattr(corpus, "name", None) == name and all(getattr(corpus, key) == value for key, value in settings.items())
    )
