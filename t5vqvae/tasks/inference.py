"""The task `inference`: the conclusion of two premises (EntailmentBank's single steps).

How the premises are encoded is the model's: `model.premises`.
"""

from __future__ import annotations

from t5vqvae.evaluation.text_scores import bleu1, corpus_bleu
from t5vqvae.tasks.base import Task, asks
from t5vqvae.tasks.idle import COMMON, first_premise, longer_premise, of_each, second_premise, union
from t5vqvae.tasks.scores import exact

TASK = Task(
    name="inference",
    question="What is the conclusion of two premises?",
    fits=asks("public", dataset="entailment"),
    scores={"bleu1": bleu1, "exact_match": exact},
    idle={
        "copy of premise 1": of_each(first_premise),
        "copy of premise 2": of_each(second_premise),
        "copy of the longer premise": of_each(longer_premise),
        "union of both": of_each(union),
        **COMMON,
    },
    of_all={"bleu": corpus_bleu},
)
