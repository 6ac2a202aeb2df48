"""What codes say about labels that a file gives to words: parts of speech, or roles.

The file need not be the model's corpus: its sentences are encoded by the model, and each word has the code of its first
token. Purity and mutual information are those of `information.py`, next to, or less, their shuffled values.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.rows import kind_of, read_rows
from t5vqvae.errors import DataError
from t5vqvae.measures.base import CodedWord, Found, Probed, Row, measure, words_of
from t5vqvae.measures.counted import entropy_bits, excess_information_bits, numbered
from t5vqvae.measures.information import purity
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
    bits, total = excess_information_bits(codes_N, labels_N, probed.seed), entropy_bits(labels_N)
    shuffled_N = np.random.default_rng(probed.seed).permutation(codes_N)
    metrics = {
        "labels/information": bits,
        "labels/entropy": total,
        "labels/purity": purity(codes_N, labels_N),
        "labels/purity_shuffled": purity(shuffled_N, labels_N),
    }
    tables = {"Labels that codes stand for": _by_label(words)}
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


def _by_label(words: Sequence[CodedWord]) -> list[Row]:
    """Returns the number of words of every label, and the share whose code stands for it most often."""
    by_code: dict[tuple[int, ...], Counter[str]] = defaultdict(Counter)
    for word in words:
        by_code[word.codes][word.role] += 1
    meant = {code: counts.most_common(1)[0][0] for code, counts in by_code.items()}
    number = Counter(word.role for word in words)
    right = Counter(word.role for word in words if meant[word.codes] == word.role)
    codes = Counter(meant.values())
    return [
        {"label": label, "words": count, "codes": codes[label], "found by its codes": right[label] / count}
        for label, count in number.most_common()
    ]
