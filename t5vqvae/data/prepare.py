"""From a config to tokenized splits: prepared once on a machine, cached on disk, memory-mapped by every process.

A shortcut file holds the name of the splits' folder. The shortcut's own name is a hash of everything that decides the
result (config, versions, sizes and times of local files), so a second call reads neither corpus nor tokenizer. The
folder's name is a hash of the content, so a touched corpus file is read again but not tokenized again. The test splits
are in the folder too, but only `prepare_test` opens them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.config import Config, setting
from t5vqvae.data.corpora import registry as variants
from t5vqvae.data.corpora.base import Corpus, CorpusConfig, Example
from t5vqvae.data.split import Tokenized, TokenizedSplit, write_split
from t5vqvae.data.tokenizer import TokenizerConfig, backbone_stamp, build_tokenizer, load_pretrained, resolved_kind
from t5vqvae.errors import DataError
from t5vqvae.files import atomic_write, digest, locked
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

    AnyCorpus = CorpusConfig
else:
    AnyCorpus = CorpusConfig.any()

PREPARED_VERSION = 1
"""Raise it with every change of what is written: cached folders of the old version are then ignored."""
NO_ROLE = "none"
CHUNK = 1_000
"""Examples tokenized at once."""
logger = logging.getLogger(__name__)


class DataConfig(Config):
    """The data of a run: a corpus, its tokenizer, and the longest text."""

    corpus: AnyCorpus = setting(variants.MathCorpus())
    tokenizer: TokenizerConfig = setting(TokenizerConfig())
    max_length: int = setting(
        45, ge=2, description="source tokens, the end-of-text token included; longer examples are dropped"
    )
    max_target_length: int | None = setting(
        None, ge=2, description="target tokens, as max_length; null: the same limit"
    )


@dataclass(frozen=True)
class PreparedData:
    """The tokenized splits that training may read."""

    folder: Path
    train: TokenizedSplit
    validation: TokenizedSplit
    fingerprint: str
    """sha256 over corpus, tokenizer and lengths: the same fingerprint means the same examples."""
    num_too_long: dict[str, int]
    """Number of examples dropped for their length, by split."""
    role_names: tuple[str, ...]
    """Names of the role numbers in `Batch.roles_BT`; the first is "none"."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the splits; all runs of a process share one."""
        return _tokenizer_in(self.folder / "tokenizer")


@lru_cache(maxsize=4)
def _tokenizer_in(folder: Path) -> Tokenizer:
    # Cached because reading T5's 32,000 pieces takes a fifth of a second, which every run of a process would pay. The
    # cache stays valid: a prepared folder is named by its content and never changes.
    return load_pretrained(folder)


def prepare(config: DataConfig, cache_dir: Path, backbone: str | None = None) -> PreparedData:
    """Returns the tokenized training and validation splits, from the cache when they were prepared before.

    Args:
        config: The data section of a spec.
        cache_dir: Cache of prepared data. Processes that need the same data at the same time wait for the first.
        backbone: Name or folder of the pretrained checkpoint whose tokenizer `auto` stands for, or None.

    Raises:
        DataError: If the corpus or tokenizer cannot be loaded, or a split has no sentence short enough.
    """
    folder = _prepared_folder(config, Path(cache_dir), backbone)
    facts = json.loads((folder / "facts.json").read_text())
    return PreparedData(
        folder=folder,
        train=TokenizedSplit(folder / "train"),
        validation=TokenizedSplit(folder / "validation"),
        fingerprint=facts["fingerprint"],
        num_too_long=facts["num_too_long"],
        role_names=tuple(facts["role_names"]),
    )


def prepare_test(config: DataConfig, cache_dir: Path, backbone: str | None = None) -> dict[str, TokenizedSplit]:
    """Returns the test splits by name: "test" and the corpus's extra test sets ("VAR", ...).

    For evaluation on the test split and for promotion only: anything else would tune on the test split.
    """
    folder = _prepared_folder(config, Path(cache_dir), backbone)
    facts = json.loads((folder / "facts.json").read_text())
    return {name: TokenizedSplit(folder / name) for name in facts["tests"]}


def _prepared_folder(config: DataConfig, cache_dir: Path, backbone: str | None) -> Path:
    """Returns the folder of the prepared splits; prepares them first when they are missing."""
    kind = resolved_kind(config.tokenizer, config.corpus.default_tokenizer, backbone)
    backbone = backbone if kind == "pretrained" else None
    key = digest(PREPARED_VERSION, config.as_dict(), config.corpus.stamp(cache_dir), backbone_stamp(backbone))
    shortcut = cache_dir / "prepared" / "asked" / key[:24]
    if not _leads_to_folder(shortcut):
        with locked(shortcut):
            if not _leads_to_folder(shortcut):
                folder = _prepare(config, cache_dir, backbone)
                with atomic_write(shortcut) as scratch:
                    scratch.write_text(folder.name)
    return cache_dir / "prepared" / shortcut.read_text()


def _leads_to_folder(shortcut: Path) -> bool:
    return shortcut.exists() and (shortcut.parent.parent / shortcut.read_text()).exists()


def _prepare(config: DataConfig, cache_dir: Path, backbone: str | None) -> Path:
    with stage(f"reading the corpus {config.corpus.name}"):
        corpus = config.corpus.load(cache_dir)
    tokenizer = build_tokenizer(config.tokenizer, corpus.train, config.corpus.default_tokenizer, backbone, cache_dir)
    max_target_length = config.max_target_length or config.max_length
    fingerprint = digest(
        PREPARED_VERSION, corpus.fingerprint, tokenizer.backend_tokenizer.to_str(), config.max_length, max_target_length
    )
    folder = cache_dir / "prepared" / fingerprint[:24]
    with locked(folder):
        if not folder.exists():
            with atomic_write(folder, folder=True) as scratch:
                tokenizer.save_pretrained(scratch / "tokenizer")
                facts = _write_splits(corpus, tokenizer, (config.max_length, max_target_length), scratch)
                (scratch / "facts.json").write_text(json.dumps({"fingerprint": fingerprint, **facts}))
    return folder


def _write_splits(corpus: Corpus, tokenizer: Tokenizer, max_lengths: tuple[int, int], folder: Path) -> dict[str, Any]:
    """Writes every split and returns the facts for `facts.json`.

    Raises:
        DataError: If the training or validation split has no example short enough.
    """
    splits = {name: examples for name, examples in corpus.splits.items() if examples}
    roles = sorted({role for examples in splits.values() for e in examples for role in e.roles or ()} - {NO_ROLE})
    role_ids = {role: number for number, role in enumerate([NO_ROLE, *roles])}
    num_too_long: dict[str, int] = {}
    for name, examples in splits.items():
        kept = [
            found
            for found in _tokenize(examples, tokenizer, role_ids)
            if len(found.source_ids) <= max_lengths[0] and len(found.target_ids) <= max_lengths[1]
        ]
        num_too_long[name] = len(examples) - len(kept)
        _report_too_long(name, num_too_long[name], len(examples), max_lengths)
        write_split(folder / name, kept)
    tests = [name for name in splits if name not in ("train", "validation") and num_too_long[name] < len(splits[name])]
    return {"num_too_long": num_too_long, "role_names": list(role_ids), "tests": tests}


def _report_too_long(name: str, number: int, of: int, max_lengths: tuple[int, int]) -> None:
    """Logs how many of a split's examples were dropped; refuses an empty training or validation split."""
    if number == of and name in ("train", "validation"):
        raise DataError(
            f"data.max_length={max_lengths[0]} (and max_target_length, {max_lengths[1]}) leaves none of the "
            f"{of} sentences of the {name} split: all are longer; raise it"
        )
    if number:
        logger.warning(
            "%d of %d sentences of the %s split are dropped: longer than %d source or %d target tokens; to keep them, "
            "raise data.max_length or data.max_target_length", number, of, name, *max_lengths
        )  # fmt: skip


def _tokenize(examples: Sequence[Example], tokenizer: Tokenizer, role_ids: Mapping[str, int]) -> Iterable[Tokenized]:
    for start in _counted(range(0, len(examples), CHUNK), len(examples)):
        chunk = examples[start : start + CHUNK]
        encoded = tokenizer([e.source for e in chunk], return_offsets_mapping=True, return_attention_mask=False)
        targets = [e.target for e in chunk if e.target is not None]
        target_ids = iter(tokenizer(targets, return_attention_mask=False)["input_ids"] if targets else ())
        for e, ids, spans in zip(chunk, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            roles = None if e.roles is None else roles_of_tokens(e.source, e.roles, spans, role_ids)
            yield Tokenized(e.source, e.target, ids, ids if e.target is None else next(target_ids), roles)


def _counted(starts: range, total: int) -> Iterator[int]:
    """Yields the starts of chunks and reports the stage."""
    with stage("tokenizing", total, "sentences") as now:
        for start in starts:
            now.set(start)
            yield start


def roles_of_tokens(
    source: str, roles: Sequence[str], spans: Sequence[tuple[int, int]], role_ids: Mapping[str, int]
) -> list[int]:
    """Returns the role number of every token: the role of the word that holds its last character, 0 outside words.

    Args:
        source: The text.
        roles: The role of each white-space word of the text.
        spans: Start and end (exclusive) of each token in the text, in characters; an empty span is a special token.
        role_ids: The number of each role.
    """
    at_character = [0] * len(source)
    end = 0
    for word, role in zip(source.split(), roles, strict=True):
        start = source.index(word, end)
        end = start + len(word)
        at_character[start:end] = [role_ids[role]] * len(word)
    return [at_character[stop - 1] if stop > start else 0 for start, stop in spans]
