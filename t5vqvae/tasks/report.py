"""Judges answers: scores with intervals next to those of idle answers, and whether the task was learnt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from t5vqvae.data.gate_split import reported_halves
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.evaluation.summed_metrics import Meaning, shares_by_meaning
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import stage
from t5vqvae.tasks.base import Asked, Pair, Task

MODEL = "model"
NUM_RESAMPLES = 2_000


@dataclass(frozen=True)
class Row:
    """The scores of one answerer on a set.

    Attributes:
        name: `model`, or what the idle answerer does.
        score: The mean of the task's main score.
        low: Lower end of its 95% percentile interval over resampled questions.
        high: Upper end.
        others: Further scores by name.
    """

    name: str
    score: float
    low: float
    high: float
    others: dict[str, float]


@dataclass(frozen=True)
class Judgement:
    """A model and all idle answerers on one set.

    Attributes:
        split: The set.
        num_questions: Its questions.
        rows: The model first.
        kinds: The model's main score on the questions of each kind, and how many they are; empty without kinds.
    """

    split: str
    num_questions: int
    rows: list[Row]
    kinds: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def is_learnt(self) -> bool:
        """Whether the model's interval lies above the score of every idle answerer."""
        model, *idle = self.rows
        return all(model.low > row.score for row in idle)


def judge(
    task: Task,
    split: str,
    train: Sequence[Pair],
    asked: Sequence[Pair],
    answers: Sequence[str],
    meaning: Meaning | None = None,
) -> Judgement:
    """Returns the scores of a model's answers and of all idle ones.

    Args:
        task: The task.
        split: The set's name.
        train: The training pairs of the corpus itself, which some idle answerers read.
        asked: The questions with their right answers.
        answers: The model's, in the same order.
        meaning: Judges answers by their meaning, too; None: they have none.
    """
    targets = [pair.target for pair in asked]
    known = Asked(train, [pair.source for pair in asked], task.scores[task.main_score])
    said = {MODEL: list(answers), **{name: answer(known) for name, answer in task.idle.items()}}
    with stage(f"scoring {split}", len(said), "answerers") as now:
        rows = []
        for name, texts in said.items():
            row = _row(task, name, targets, texts)
            if meaning is not None:
                pairs = list(zip((pair.source for pair in asked), texts, strict=True))
                row = replace(row, others=row.others | shares_by_meaning(meaning, pairs))
            rows.append(row)
            now.advance(1)
    return Judgement(split, len(asked), rows, _by_kind(task, asked, answers))


def judge_model(
    task: Task,
    model: TextAutoencoder,
    spec: RunSpec,
    cache_dir: Path,
    which: Literal["validation", "test"],
    *,
    half: bool = False,
) -> list[Judgement]:
    """Returns the judgement of a trained model on the validation split, or on every test set.

    The test sets are for final tables only: what is chosen by their scores, they do not test.

    Args:
        task: The task.
        model: The model.
        spec: Its run.
        cache_dir: Cache of prepared data.
        which: The sets.
        half: Leave out the half of every test set that decides promotions; see `t5vqvae.data.gate_split`.

    Raises:
        DataError: If that leaves nothing of the test split.
    """
    prepared = prepare(spec.data, cache_dir, backbone=spec.model.backbone)
    splits = {"validation": prepared.validation}
    if which == "test":
        splits = prepare_test(spec.data, cache_dir, backbone=spec.model.backbone)
        splits = reported_halves(splits, spec.data.corpus.name) if half else splits
    train, corpus = _pairs(prepared.own_train), spec.data.corpus
    meaning = corpus.judge if corpus.has_meaning else None
    found = []
    for name, split in splits.items():
        done = evaluate(model, split, spec, prefix=name, everything=True, per_sentence=True)
        texts = {sentence.index: sentence.decoded for sentence in done.sentences}
        answers = [texts[index] for index in range(len(split))]
        found.append(judge(task, name, train, _pairs(split), answers, meaning))
    return found


def _pairs(split: TokenizedSplit) -> list[Pair]:
    every = range(len(split))
    return [Pair(*pair) for pair in zip(split.sources(every), split.texts(every), strict=True)]


def _by_kind(task: Task, asked: Sequence[Pair], answers: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Returns the main score's mean, and the number of questions, of each kind, in the order of the kinds' names."""
    if task.kind_of is None:
        return {}
    score, scores = task.scores[task.main_score], defaultdict[str, list[float]](list)
    for pair, answer in zip(asked, answers, strict=True):
        scores[task.kind_of(pair.source)].append(score(pair.target, answer))
    return {kind: (sum(found) / len(found), len(found)) for kind, found in sorted(scores.items())}


def _row(task: Task, name: str, targets: Sequence[str], texts: Sequence[str]) -> Row:
    means = {}
    for key, score in task.scores.items():
        values = np.array([score(target, text) for target, text in zip(targets, texts, strict=True)])
        means[key] = float(values.mean())
        if key == task.main_score:
            low, high = _interval(values)
    others = {key: value for key, value in means.items() if key != task.main_score}
    others |= {key: score(targets, texts) for key, score in task.of_all.items()}
    return Row(name, means[task.main_score], low, high, others)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the 95% percentile interval of the mean over resampled questions."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(NUM_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
