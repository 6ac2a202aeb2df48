"""The task `dialogue`: the response to an utterance; ROUGE-L, BLEU-1, BLEU, and distinct-n of all responses."""

from __future__ import annotations

from t5vqvae.evaluation.text_scores import bleu1, corpus_bleu
from t5vqvae.tasks.base import Task, asks
from t5vqvae.tasks.idle import COMMON, lead, most_frequent, of_each, whole
from t5vqvae.tasks.scores import distinct, rouge

TASK = Task(
    name="dialogue",
    question="What is the response to an utterance?",
    fits=asks("public", dataset="dialogue"),
    scores={"rougeL": rouge("rougeL"), "bleu1": bleu1},
    idle={
        "the utterance": of_each(whole),
        "lead-1": of_each(lead),
        "majority": most_frequent,
        **COMMON,
    },
    of_all={"bleu": corpus_bleu, "distinct-1": distinct(1), "distinct-2": distinct(2)},
)
