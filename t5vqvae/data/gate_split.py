"""The split by which a promotion decides, apart from the sentences of the result tables.

A decision uses a split up: a model that became champion because it was better there looks better there than it is.
Corpora that `draws_gate` (grammar, math) draw further sentences, which changes none of their other splits. With
`data.ood` they draw further sets out of distribution, too, each as its test set is drawn. Of every other corpus, also a
generated one such as syllogisms, a fixed half of each test set decides, chosen by a hash of the source; result tables
use the other half.

Letters: N examples of a test set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from t5vqvae.data.checked import is_intact, write_manifest
from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.prepare import DataConfig, gate_examples, prepare, prepare_test, with_further_sets
from t5vqvae.data.sift import sift
from t5vqvae.data.split import PartOfSplit, TokenizedSplit, write_split
from t5vqvae.data.tokenizing import tokenize
from t5vqvae.errors import DataError
from t5vqvae.files import atomic_write, digest, locked

GATE_VERSION = 1
"""Raise it with every change of what is drawn or chosen: earlier decisions then count for another split."""
Kind = Literal["own", "half"]
WORDS = {
    "own": "a split drawn for decisions alone",
    "half": "half of the test split, which result tables leave out",
}


@dataclass(frozen=True)
class GateData:
    """The sentences that decide.

    Attributes:
        kind: Where they come from; see `WORDS`.
        splits: `gate`, and shifted test sets by name, such as `VAR`.
        digest: Identifies them; how often they have decided is counted by it.
    """

    kind: Kind
    splits: Mapping[str, TokenizedSplit]
    digest: str


def half_of(split: TokenizedSplit, *, gate: bool) -> TokenizedSplit:
    """Returns the half of a test set that decides, or the other one; a source is always in the same half."""
    sources = split.sources(range(len(split)))
    in_gate_N = np.array([_decides(source) for source in sources], dtype=bool)
    return PartOfSplit(split, np.flatnonzero(in_gate_N if gate else ~in_gate_N))


def reported_halves(splits: Mapping[str, TokenizedSplit], corpus: str) -> dict[str, TokenizedSplit]:
    """Returns the halves of test sets that promotions do not decide by.

    Args:
        splits: The test sets by name, `test` among them.
        corpus: The corpus's name, for errors.

    Raises:
        DataError: If that leaves nothing of the test split.
    """
    halves = {name: half_of(split, gate=False) for name, split in splits.items()}
    if not len(halves["test"]):
        raise DataError(
            f"data.corpus.name={corpus}: half of its test split decides, and nothing is left to report; enlarge it"
        )
    return {name: half for name, half in halves.items() if len(half)}


def _decides(source: str) -> bool:
    return hashlib.blake2b(source.encode(), digest_size=1).digest()[0] % 2 == 0


def kind_of_gate(config: DataConfig) -> Kind:
    """Returns where the sentences come from that decide about models of this data."""
    return "own" if config.corpus.draws_gate else "half"


def prepare_gate(config: DataConfig, cache_dir: Path, backbone: str | None) -> GateData:
    """Returns the split that decides about models of this data.

    Args:
        config: The data.
        cache_dir: Cache of prepared data.
        backbone: See `prepare`.

    Raises:
        DataError: If no sentence is left to decide by.
    """
    if kind_of_gate(config) == "own":
        found = _drawn(config, cache_dir, backbone)
    else:
        tests = prepare_test(config, cache_dir, backbone=backbone)
        halves = {_name(name): half_of(split, gate=True) for name, split in tests.items()}
        splits = {name: split for name, split in halves.items() if len(split)}
        found = GateData("half", splits, _digest("half", splits))
    if not len(found.splits.get("gate", ())):
        raise DataError(f"data.corpus.name={config.corpus.name} has no test sentence to decide by; enlarge its test")
    return found


def _name(test_set: str) -> str:
    return "gate" if test_set == "test" else test_set


def _drawn(config: DataConfig, cache_dir: Path, backbone: str | None) -> GateData:
    """Returns a generated corpus's own split, tokenized once and kept next to the prepared data."""
    prepared = prepare(config, cache_dir, backbone=backbone)
    ood = "-ood" if config.ood else ""  # earlier versions kept a folder without these sets
    folder = prepared.folder.with_name(f"{prepared.folder.name}-gate-{GATE_VERSION}{ood}")
    with locked(folder):
        if not is_intact(folder):
            role_ids = {role: number for number, role in enumerate(prepared.role_names)}
            lengths = config.max_length, config.max_target_length or config.max_length
            with atomic_write(folder, folder=True) as scratch:
                for name, examples in _examples(config, cache_dir).items():
                    tokenized = tokenize(examples, prepared.tokenizer, role_ids)
                    kept = sift(name, tokenized, prepared.tokenizer, lengths).kept
                    if kept:
                        write_split(scratch / name, kept)
                write_manifest(scratch)
    splits = {path.name: TokenizedSplit(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    return GateData("own", splits, _digest("own", splits))


def _examples(config: DataConfig, cache_dir: Path) -> dict[str, Sequence[Example]]:
    return gate_examples(config, with_further_sets(config, config.corpus.load(cache_dir)), cache_dir)


def _digest(kind: Kind, splits: Mapping[str, TokenizedSplit]) -> str:
    texts = {name: [split.sources(range(len(split))), split.texts(range(len(split)))] for name, split in splits.items()}
    return digest(GATE_VERSION, kind, dict(sorted(texts.items())))
