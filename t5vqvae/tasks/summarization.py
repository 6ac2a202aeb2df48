"""The task `summarization`: the summary of a document; ROUGE's F-measures, and BLEU."""

from __future__ import annotations

from t5vqvae.evaluation.text_scores import corpus_bleu
from t5vqvae.tasks.base import Task, asks
from t5vqvae.tasks.idle import COMMON, lead, of_each, whole
from t5vqvae.tasks.scores import distinct, rouge

TASK = Task(
    name="summarization",
    question="What is the summary of a document?",
    fits=asks("public", dataset="summarization"),
    scores={kind: rouge(kind) for kind in ("rougeL", "rouge1", "rouge2")},
    idle={"the document": of_each(whole), "lead-1": of_each(lead), **COMMON},
    of_all={"bleu": corpus_bleu, "distinct-1": distinct(1), "distinct-2": distinct(2)},
)
