"""What codes say about labels that a file gives to words: parts of speech, or roles.

The file need not be the model's corpus: its sentences are encoded by the model, and each word has the code of its first
token. Purity, inverse purity, V-measure and mutual information are those of `agreement.py`, next to, or less, their
shuffled values.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.rows import kind_of, read_rows
from t5vqvae.errors import DataError
from t5vqvae.measures.agreement import agreement
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.coded_words import CodedWord, words_of
from t5vqvae.measures.counted import entropy_bits, numbered
from t5vqvae.stages import stage

Labelled = tuple[str, tuple[str, ...]]
"""A sentence, and the label of each of its words."""


def read_labelled(path: Path) -> tuple[list[Labelled], Counter[str]]:
    """Returns the labelled sentences of a file, and the number of those left out, by reason.

    It is a file of `sentence & labels` lines, or a table whose first two columns are sentence and labels.

    Labels are one a word, or a constituency parse in Penn brackets, which gives the parts of speech; a sentence whose
    parse has other words is left out.

    Raises:
        DataError: If it cannot be read, a sentence has not one label for each word, or all are left out.
    """
    if not path.is_file():
        raise DataError(f"labels={path}: there is no such file; name one with lines of `sentence & labels`")
    kind = "roles" if path.suffix in ("", ".txt") else kind_of(path)
    rows = list(read_rows(path, kind))
    names = list(rows[0].cells) if rows else []
    if len(names) < 2:
        raise DataError(f"labels={path} has {len(names)} columns; give a table of sentences and their labels")
    examples, left_out = to_examples(rows, names[0], None, names[1])
    if left_out and not examples:
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        raise DataError(f"labels={path}: all of its sentences are left out ({reasons}); write words as their parse has")
    return [(each.source, each.roles) for each in examples if each.roles], left_out


@measure("labels")
def labels(probed: Probed) -> Found:
    """Measures what the code at a word says about its label in a file."""
    if probed.labels is None or not probed.model.has_codes or probed.model.leaks:
        return Found()
    with stage("reading labels"):
        known, left_out = read_labelled(probed.labels)
    words = _labelled_words(probed, known)
    if len({word.role for word in words}) < 2:
        return Found()
    codes_N, labels_N = numbered([word.codes for word in words]), numbered([word.role for word in words])
    shuffled_N = np.random.default_rng(probed.seed).permutation(codes_N)
    found = agreement(codes_N, labels_N, shuffled_N, probed.seed)
    metrics = {
        "labels/information": found.bits,
        "labels/entropy": entropy_bits(labels_N),
        **{f"labels/{key}": value for key, value in found.metrics.items()},
    }
    tables = {"Labels that codes stand for": _by_label(words, shuffled_N)}
    if left_out:
        rows: list[Row] = [{"sentences": number, "why": reason} for reason, number in left_out.items()]
        tables["Sentences of labels= that are left out"] = rows
    return Found(metrics, tables)


def _labelled_words(probed: Probed, known: Sequence[Labelled]) -> list[CodedWord]:
    """Returns the words of a seeded sample of the file's sentences, with their labels for roles."""
    some = random.Random(f"{probed.seed} labels").sample(known, min(len(known), probed.num_sentences))
    found = list[CodedWord]()
    for number, (sentence, (text, own)) in enumerate(
        zip(probed.space().encode([text for text, _ in some]), some, strict=True)
    ):
        if not sentence.by_token:
            return []
        words = words_of(number, text, sentence.latent_TX.cpu().numpy(), sentence.spans, ())
        found += [replace(word, role=own[word.place]) for word in words]
    return found


def _by_label(words: Sequence[CodedWord], shuffled_N: npt.NDArray[np.int64]) -> list[Row]:
    """Returns the number of words of every label, and how well the codes that stand for it find it.

    A code stands for its most frequent label. `found by its codes` is the recall of all codes of a label, `precision`
    the share of their words that have it; both are also of shuffled codes.
    """
    labels = [word.role for word in words]
    own, by_chance = _meant([word.codes for word in words], labels), _meant(shuffled_N.tolist(), labels)
    number, codes = Counter(labels), Counter(dict(zip((word.codes for word in words), own, strict=True)).values())
    rows: list[Row] = []
    for label, count in number.most_common():
        found, shuffled = _recall_precision(label, own, labels), _recall_precision(label, by_chance, labels)
        rows.append({"label": label, "words": count, "codes": codes[label],
                     "found by its codes": found[0], "found, shuffled": shuffled[0],
                     "precision": found[1], "precision, shuffled": shuffled[1]})  # fmt: skip
    return rows


def _meant(codes: Sequence[Hashable], labels: Sequence[str]) -> list[str]:
    """Returns the label that the code of every word stands for."""
    by_code: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for code, label in zip(codes, labels, strict=True):
        by_code[code][label] += 1
    meant = {code: counts.most_common(1)[0][0] for code, counts in by_code.items()}
    return [meant[code] for code in codes]


def _recall_precision(label: str, meant: Sequence[str], labels: Sequence[str]) -> tuple[float, float | None]:
    """Returns the recall and the precision of the codes that stand for a label; no precision where none does."""
    right = sum(one == other == label for one, other in zip(meant, labels, strict=True))
    claimed = meant.count(label)
    return right / labels.count(label), right / claimed if claimed else None
