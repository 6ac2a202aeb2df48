"""From a config to tokenized splits: done once a machine, kept on disk, mapped by whoever needs them.

A short-cut file named by everything that decides the result (config, versions, sizes and times of local files) names
the folder of the splits, so a second call reads neither corpus nor tokenizer. The folder is named by content, so
touching a file of the corpus costs one reading and no tokenization. The test splits lie there too, but only
`prepare_test` opens them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
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

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    AnyCorpus = CorpusConfig
else:
    AnyCorpus = CorpusConfig.any()

PREPARED_VERSION = 1
"""To be raised by whoever changes what is written: kept folders of the old version are ignored then."""
NO_ROLE = "none"
CHUNK = 1_000
logger = logging.getLogger(__name__)


class DataConfig(Config):
    """What a run reads: a corpus, its tokenizer, and how long a text may be."""

    corpus: AnyCorpus = setting(variants.MathCorpus())
    tokenizer: TokenizerConfig = setting(TokenizerConfig())
    max_length: int = setting(
        45, ge=2, description="source tokens, with the one that ends the text; longer ones are dropped"
    )
    max_target_length: int | None = setting(None, ge=2, description="target tokens; null: as max_length")


@dataclass(frozen=True)
class PreparedData:
    """The tokenized splits that training may see."""

    folder: Path
    train: TokenizedSplit
    validation: TokenizedSplit
    fingerprint: str
    """sha256 over corpus, tokenizer and lengths: the same one means the same examples."""
    num_too_long: dict[str, int]
    """Examples dropped for their length, by split."""
    role_names: tuple[str, ...]
    """What the numbers in `Batch.roles_BT` mean; the first is "none"."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer that made the splits; all runs of a process share one."""
        return _tokenizer_in(self.folder / "tokenizer")


@lru_cache(maxsize=4)
def _tokenizer_in(folder: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a folder, read once a process: prepared folders are named by content and never change.

    Reading the 32,000 pieces of T5's takes a fifth of a second, which a process that trains one run after the other
    would spend on each.
    """
    return load_pretrained(folder)


def prepare(config: DataConfig, cache_dir: Path, backbone: str | None = None) -> PreparedData:
    """Returns the tokenized training and validation splits; fast when they were prepared before.

    Args:
        config: The data section of a spec.
        cache_dir: Where prepared data is kept. Processes that ask for the same data at once wait for the first.
        backbone: Name or folder of a pretrained checkpoint whose tokenizer `auto` shall be, or None.

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
    """Returns the test splits by name: "test", and the corpus's further ones ("VAR", ...).

    For evaluation on the test split and for promotion only: what else looks at them tunes on them.
    """
    folder = _prepared_folder(config, Path(cache_dir), backbone)
    facts = json.loads((folder / "facts.json").read_text())
    return {name: TokenizedSplit(folder / name) for name in facts["tests"]}


def _prepared_folder(config: DataConfig, cache_dir: Path, backbone: str | None) -> Path:
    """Returns the folder of the prepared splits, preparing them first where they are not yet there."""
    kind = resolved_kind(config.tokenizer, config.corpus.default_tokenizer, backbone)
    backbone = backbone if kind == "pretrained" else None
    asked = digest(PREPARED_VERSION, config.as_dict(), config.corpus.stamp(cache_dir), backbone_stamp(backbone))
    shortcut = cache_dir / "prepared" / "asked" / asked[:24]
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


def _write_splits(corpus: Corpus, tokenizer: Any, max_lengths: tuple[int, int], folder: Path) -> dict[str, Any]:
    """Writes every split and returns the facts about them all.

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
        _say_too_long(name, num_too_long[name], len(examples), max_lengths)
        write_split(folder / name, kept)
    tests = [name for name in splits if name not in ("train", "validation") and num_too_long[name] < len(splits[name])]
    return {"num_too_long": num_too_long, "role_names": list(role_ids), "tests": tests}


def _say_too_long(name: str, number: int, of: int, max_lengths: tuple[int, int]) -> None:
    if number == of and name in ("train", "validation"):
        raise DataError(
            f"data.max_length={max_lengths[0]} (and max_target_length, {max_lengths[1]}) leaves none of the "
            f"{of} sentences of the {name} split, all of which are longer; raise it"
        )
    if number:
        logger.warning(
            "%d of %d sentences of the %s split are dropped: longer than %d source or %d target tokens "
            "(data.max_length, data.max_target_length)", number, of, name, *max_lengths
        )  # fmt: skip


def _tokenize(examples: Sequence[Example], tokenizer: Any, role_ids: Mapping[str, int]) -> Iterable[Tokenized]:
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        encoded = tokenizer([e.source for e in chunk], return_offsets_mapping=True, return_attention_mask=False)
        targets = [e.target for e in chunk if e.target is not None]
        target_ids = iter(tokenizer(targets, return_attention_mask=False)["input_ids"] if targets else ())
        for e, ids, spans in zip(chunk, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            roles = None if e.roles is None else roles_of_tokens(e.source, e.roles, spans, role_ids)
            yield Tokenized(e.source, e.target, ids, ids if e.target is None else next(target_ids), roles)


def roles_of_tokens(
    source: str, roles: Sequence[str], spans: Sequence[tuple[int, int]], role_ids: Mapping[str, int]
) -> list[int]:
    """Returns the role number of every token: that of the word its last character is in, 0 where it is in none.

    Args:
        source: The text.
        roles: The role of each of its white-space words.
        spans: First character and end of each token in the text; an empty span is a special token.
        role_ids: The number of each role.
    """
    at_character = [0] * len(source)
    end = 0
    for word, role in zip(source.split(), roles, strict=True):
        start = source.index(word, end)
        end = start + len(word)
        at_character[start:end] = [role_ids[role]] * len(word)
    return [at_character[stop - 1] if stop > start else 0 for start, stop in spans]
