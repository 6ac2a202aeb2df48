"""From a config to tokenized splits: prepared once on a machine, cached on disk, memory-mapped by every process.

A shortcut file holds the name of the splits' folder. The shortcut's own name is a hash of everything that decides the
result (config, versions, sizes and times of local files), so a second call reads neither corpus nor tokenizer. The
folder's name is a hash of the content and of what was left out of it, so a touched corpus file is read again but not
tokenized again. A folder whose files are not what its manifest says, or that has no manifest (as an earlier version
left it), is made anew. The test splits are in the folder too, but only `prepare_test` opens them. What is left out of
them: `written_splits.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import model_validator

from t5vqvae.config import Config, LocalPath, setting
from t5vqvae.data.augment import AUGMENT_VERSION, AugmentConfig, added_rows, refuse_unnamed, report_shortage
from t5vqvae.data.checked import is_intact, read_line, write_line, write_manifest
from t5vqvae.data.corpora import registry as variants
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import TWIN, Corpus, Example
from t5vqvae.data.extra_text import ExtraText, read_extra_text
from t5vqvae.data.open_vocabulary import OPEN_VERSION
from t5vqvae.data.prepared_fingerprint import PREPARED_VERSION, data_fingerprint
from t5vqvae.data.rare_tokens import report_rare, shown_counts
from t5vqvae.data.split import PartOfSplit, TokenizedSplit
from t5vqvae.data.tokenizer import (
    TOKENIZER_VERSION,
    TokenizerConfig,
    backbone_stamp,
    build_tokenizer,
    load_pretrained,
    refuse_few_rows,
    resolved_kind,
)
from t5vqvae.data.written_splits import AUTOENCODED, write_splits
from t5vqvae.errors import SettingError
from t5vqvae.files import atomic_write, digest, locked, read_json, stamp
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

    AnyCorpus = CorpusConfig
else:
    AnyCorpus = CorpusConfig.any()

LAYOUT = 8
"""Raise it with every change of what is written that a fingerprint does not show, such as a further file."""


class DataConfig(Config):
    """The data of a run: a corpus, its tokenizer, and the longest text."""

    corpus: AnyCorpus = setting(variants.MathCorpus())
    tokenizer: TokenizerConfig = setting(TokenizerConfig())
    max_length: int = setting(
        45, ge=2, description="source tokens, the end-of-text token included; longer training examples are dropped"
    )
    max_target_length: int | None = setting(
        None, ge=2, description="target tokens, as max_length; null: the same limit"
    )
    augment: AugmentConfig = setting(AugmentConfig())
    extra_text: LocalPath | None = setting(
        None,
        description="a file of further sentences, or a folder of files, for the first of two training stages; those of"
        " held-out rows are left out. Needs train.autoencode_steps",
    )
    ood: int = setting(
        0, ge=0, description="sentences of each set out of distribution, for validation_ood/ and gate_ood/; 0: none"
    )
    harder: int = setting(
        0, ge=0, description="sentences of each harder test set of the corpus, by which nothing is chosen; 0: none"
    )

    @model_validator(mode="after")
    def _has_twins(self) -> Self:
        if self.ood and not self.corpus.has_twins:
            raise SettingError(
                f"data.ood={self.ood} needs a corpus with twins of its test sets, such as math; set it to 0, because"
                f" data.corpus.name={self.corpus.name} has none"
            )
        return self

    @property
    def longest(self) -> int:
        """Tokens of the longest training text, source or target."""
        return max(self.max_length, self.max_target_length or 0)


@dataclass(frozen=True)
class PreparedData:
    """The tokenized splits that training may read."""

    folder: Path
    train: TokenizedSplit
    validation: TokenizedSplit
    fingerprint: str
    """sha256 over corpus, tokenizer and lengths: the same fingerprint means the same examples."""
    num_too_long: dict[str, int]
    """Number of examples longer than the limits, by split: dropped from training, kept elsewhere."""
    num_unspellable: dict[str, int]
    """Number of examples with a character that no token spells, by split: dropped from training, kept elsewhere."""
    left_out: dict[str, dict[str, int]]
    """Number of rows dropped for another reason ("missing", "empty"), by split."""
    num_repeated: dict[str, int]
    """Number of examples that are in their split already; they are kept, so that frequent texts count as such."""
    role_names: tuple[str, ...]
    """Names of the role numbers in `Batch.roles_BT`; the first is "none"."""
    num_augmented: dict[str, int] = field(default_factory=dict)
    """Number of rows that `data.augment` added to the training split, by kind; they are its last rows."""
    fewest_shown: int = 0
    """How often the training rows show the vocabulary's rarest token."""
    autoencoded: TokenizedSplit | None = None
    """What the first of two stages reads: the training rows, then those of `data.extra_text`; None without it."""
    extra_text: dict[str, int] = field(default_factory=dict)
    """Number of sentences of `data.extra_text` that are "kept", or left out for another reason."""
    twins: dict[str, TokenizedSplit] = field(default_factory=dict)
    """The validation sets that are out of distribution, by the name of the test set that each is a twin of."""

    @property
    def own_train(self) -> TokenizedSplit:
        """The training rows of the corpus itself, without those that `data.augment` added."""
        num_added = sum(self.num_augmented.values())
        return PartOfSplit(self.train, np.arange(len(self.train) - num_added)) if num_added else self.train

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
    folder, facts = _prepared(config, Path(cache_dir), backbone)
    return PreparedData(
        folder=folder,
        train=TokenizedSplit(folder / "train"),
        validation=TokenizedSplit(folder / "validation"),
        fingerprint=facts["fingerprint"],
        num_too_long=facts["num_too_long"],
        num_unspellable=facts["num_unspellable"],
        left_out=facts["left_out"],
        num_repeated=facts["num_repeated"],
        role_names=tuple(facts["role_names"]),
        num_augmented=facts["num_augmented"],
        fewest_shown=facts["fewest_shown"],
        autoencoded=TokenizedSplit(folder / AUTOENCODED) if facts["extra_text"] else None,
        extra_text=facts["extra_text"],
        twins={name.removeprefix(TWIN): TokenizedSplit(folder / name) for name in facts["twins"]},
    )


def test_strings(config: DataConfig, cache_dir: Path, backbone: str | None = None) -> str:
    """Returns a hash of the raw strings of the test split: two models are comparable where it is the same.

    Tokenizer, lengths and augmentation do not count.
    """
    return str(_prepared(config, Path(cache_dir), backbone)[1]["test_strings"])


test_strings.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test otherwise


def prepare_test(config: DataConfig, cache_dir: Path, backbone: str | None = None) -> dict[str, TokenizedSplit]:
    """Returns the test splits by name: "test" and the corpus's extra test sets ("VAR", ...).

    For evaluation on the test split and for promotion only: anything else would tune on the test split.
    """
    folder, facts = _prepared(config, Path(cache_dir), backbone)
    return {name: TokenizedSplit(folder / name) for name in facts["tests"]}


def _prepared(config: DataConfig, cache_dir: Path, backbone: str | None) -> tuple[Path, dict[str, Any]]:
    """Returns the folder of the prepared splits, and the facts about them."""
    folder = _prepared_folder(config, cache_dir, backbone)
    facts = read_json(folder / "facts.json")
    refuse_few_rows(backbone, facts["num_tokens"])
    return folder, facts


def _prepared_folder(config: DataConfig, cache_dir: Path, backbone: str | None) -> Path:
    """Returns the folder of the prepared splits; prepares them first when they are missing."""
    kind = resolved_kind(config.tokenizer, config.corpus.default_tokenizer, backbone)
    backbone = backbone if kind == "pretrained" else None
    stamps = [config.corpus.stamp(cache_dir), backbone_stamp(backbone)]
    stamps += [] if config.extra_text is None else [stamp(Path(config.extra_text))]
    versions = [PREPARED_VERSION, LAYOUT, TOKENIZER_VERSION, OPEN_VERSION, AUGMENT_VERSION]
    key = digest(*versions, config.as_dict(), *stamps)
    shortcut = cache_dir / "prepared" / "asked" / key[:24]
    known = _intact_folder(shortcut)
    if known is None:
        with locked(shortcut):
            known = _intact_folder(shortcut)
            if known is None:
                known = _prepare(config, cache_dir, backbone)
                write_line(shortcut, known.name)
    return known


def _intact_folder(shortcut: Path) -> Path | None:
    """Returns the folder that a shortcut leads to; None if either is missing or damaged."""
    name = read_line(shortcut)
    folder = None if name is None else shortcut.parent.parent / name
    return folder if folder is not None and is_intact(folder) else None


def _prepare(config: DataConfig, cache_dir: Path, backbone: str | None) -> Path:
    refuse_unnamed(config.augment, config.corpus)
    with stage(f"reading the corpus {config.corpus.name}"):
        corpus = with_further_sets(config, config.corpus.load(cache_dir))
    tokenizer = build_tokenizer(config.tokenizer, corpus.train, config.corpus.default_tokenizer, backbone, cache_dir)
    max_target_length = config.max_target_length or config.max_length
    max_lengths = (config.max_length, max_target_length)
    extra = _extra_text(config, corpus, cache_dir)
    fingerprint = data_fingerprint(corpus, tokenizer, max_lengths, config.augment, extra)
    # The facts count what was left out, too, which changes no example and so no fingerprint.
    left_out = [corpus.left_out, {} if extra is None else extra.left_out]
    folder = cache_dir / "prepared" / digest(fingerprint, LAYOUT, left_out)[:24]
    with locked(folder):
        if not is_intact(folder):
            with stage("augmenting the training split"):
                added = added_rows(config.augment, corpus, config.corpus, tokenizer)
            with atomic_write(folder, folder=True) as scratch:
                tokenizer.save_pretrained(scratch / "tokenizer")
                facts = write_splits(corpus, tokenizer, max_lengths, scratch, added, extra)
                report_shortage(config.augment, len(corpus.train), facts["num_augmented"])
                counts = shown_counts(TokenizedSplit(scratch / "train"), tokenizer)
                if config.tokenizer.open_vocabulary:
                    report_rare(counts)
                facts |= {"fingerprint": fingerprint, "num_tokens": len(tokenizer)}
                facts |= {"fewest_shown": min(counts.values())}
                (scratch / "facts.json").write_text(json.dumps(facts))
                write_manifest(scratch)
    return folder


def with_further_sets(config: DataConfig, corpus: Corpus) -> Corpus:
    """Returns a corpus with the validation and test sets that the settings ask for besides its own."""
    if config.ood:
        corpus = replace(corpus, twins=config.corpus.twins(corpus, config.ood))
    if config.harder:
        harder = config.corpus.harder_tests(corpus, config.harder)
        corpus = replace(corpus, extra_tests={**corpus.extra_tests, **harder})
    return corpus


def gate_examples(config: DataConfig, corpus: Corpus, cache_dir: Path) -> dict[str, Sequence[Example]]:
    """Returns the sentences that a generated corpus draws for promotions, by the name of their set.

    Args:
        config: The settings.
        corpus: The corpus with the further sets that they ask for.
        cache_dir: Cache of generated corpora.
    """
    found = dict(config.corpus.gate(cache_dir))
    return found | config.corpus.gate_ood(corpus, found, config.ood) if config.ood else found


def _extra_text(config: DataConfig, corpus: Corpus, cache_dir: Path) -> ExtraText | None:
    """Returns the sentences of `data.extra_text` without those of held-out rows, which a promotion's count among."""
    if config.extra_text is None:
        return None
    held_out = [found for name, found in corpus.splits.items() if name != "train"]
    held_out += gate_examples(config, corpus, cache_dir).values() if config.corpus.draws_gate else ()
    return read_extra_text(config.extra_text, itertools.chain.from_iterable(held_out))
