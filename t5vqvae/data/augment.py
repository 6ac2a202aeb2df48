r"""Adds training rows with other names and rare symbols, so that a model learns to copy the unseen.

*Renaming* gives the letters of a row new names: made-up commands such as `\qXb`, and rare characters. *Joining* puts
two rows side by side, with a rare symbol between their sources and between their targets; rows of two texts are joined
first to first and second to second. Neither ever shows a command, a character outside ASCII or a relation that another
split has and the training split lacks: what these measure stays unseen. Rows are only added, and only to the training
split.

Source: renaming as in "interchangeable token embeddings" (ICML 2025), by data instead of by embeddings.
"""

from __future__ import annotations

import logging
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.config import Config, setting
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import NO_ROLE, Corpus, Example, spaced
from t5vqvae.data.rare_symbols import RareSymbols
from t5vqvae.errors import DataError, SettingError

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

AUGMENT_VERSION = 1
"""Raise it with every change of what is added for the same settings."""
COMMAND_LETTERS = (2, 7)
"""Smallest and largest number of letters of a made-up command."""
CHARACTER_SHARE = 0.3
"""Share of new names that are a rare character instead of a command."""
_REAL = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega cos sin tan cot sec csc exp log ln lg lim max"
    " min sup inf sum prod int oint frac sqrt left right partial nabla leq geq neq le ge ne sim approx equiv cong"
    " propto to mapsto in ni subset supset cup cap forall exists cdot times div pm mp infty"
)
REAL_COMMANDS = frozenset(_REAL.split())
"""Commands that people use, which are never made up."""
_SYMBOL = re.compile(r"\\[A-Za-z]+|[<=>]|[^\x00-\x7f]")
_IDLE = 20
"""Draws of a row without a usable one after which one fewer is added."""
logger = logging.getLogger(__name__)


class AugmentConfig(Config):
    """The rows that are added to the training split; none by default."""

    rename: float = setting(
        0.0, ge=0, le=10, description="rows added with new names for letters, as a share of the training rows; 0: none"
    )
    join: float = setting(
        0.0, ge=0, le=10, description="rows added that join two by a rare symbol, as a share of the training rows"
    )
    rename_chance: float = setting(0.7, gt=0, le=1, description="chance of each letter of a row to be renamed")
    seed: int = setting(0, ge=0, description="seed of what is added")

    @property
    def is_on(self) -> bool:
        """Whether anything is added."""
        return self.rename > 0 or self.join > 0


@dataclass(frozen=True)
class Added:
    """The added rows by kind: `rename` and `join`."""

    rename: Sequence[Example] = ()
    join: Sequence[Example] = ()

    @property
    def rows(self) -> list[Example]:
        """All of them."""
        return [*self.rename, *self.join]

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows of each kind."""
        return {"rename": len(self.rename), "join": len(self.join)}


def added_rows(config: AugmentConfig, corpus: Corpus, source: CorpusConfig, tokenizer: Tokenizer) -> Added:
    """Returns the rows to add to a corpus's training split, the same for the same seed.

    Args:
        config: How many of each kind.
        corpus: The corpus, as it was loaded.
        source: Its settings, which rename a row.
        tokenizer: Its tokenizer: what it has no token for, or spells in bytes, is rare.

    Raises:
        SettingError: If the corpus has no names to rename.
    """
    if not config.is_on:
        return Added()
    held_out = held_out_symbols(corpus, source)
    others = {spaced(e.shown) for name, found in corpus.splits.items() if name != "train" for e in found}
    rng = random.Random(f"{config.seed} augment")
    texts = [text for e in corpus.train for text in (e.source, e.second) if text is not None]
    symbols = RareSymbols.of(tokenizer, texts, held_out, rng)
    by_form = {form: [e for e in corpus.train if _is_pair(e) == form] for form in (False, True)}

    def usable(example: Example | None) -> bool:
        return example is not None and not _symbols(example) & held_out and spaced(example.shown) not in others

    def drawn(share: float, draw: Callable[[], Example | None]) -> list[Example]:
        return list(_drawn(round(share * len(corpus.train)), draw, usable))

    def two_joined() -> Example:
        one = rng.choice(corpus.train)
        return joined(one, rng.choice(by_form[_is_pair(one)]), symbols.draw())

    found = Added(
        drawn(config.rename, lambda: _renamed(rng.choice(corpus.train), source, config.rename_chance, symbols, rng)),
        drawn(config.join, two_joined),
    )
    refuse_held_out(found.rows, held_out)
    return found


def _is_pair(example: Example) -> bool:
    return example.second is not None


def joins_pairs(config: AugmentConfig, corpus: Corpus) -> bool:
    """Returns whether rows of two texts are joined."""
    return config.join > 0 and any(map(_is_pair, corpus.train))


def report_shortage(config: AugmentConfig, num_rows: int, added: Mapping[str, int]) -> None:
    """Logs the kinds of rows of which fewer are added than the settings ask for.

    Args:
        config: The settings.
        num_rows: Number of training rows before anything was added.
        added: Number of added rows, by kind.
    """
    for kind, share in {"rename": config.rename, "join": config.join}.items():
        wanted, number = round(share * num_rows), added.get(kind, 0)
        if number < wanted:
            logger.warning(
                "data.augment.%s=%g asks for %d rows and adds %d: the others have nothing to rename, show a symbol of a"
                " test set, or are too long; for the last, raise data.max_length or data.max_target_length",
                kind, share, wanted, number
            )  # fmt: skip


def _drawn(
    number: int, draw: Callable[[], Example | None], usable: Callable[[Example | None], bool]
) -> Iterator[Example]:
    """Yields up to `number` usable rows."""
    for _ in range(number):
        found = next((row for row in (draw() for _ in range(_IDLE)) if usable(row)), None)
        if found is not None:
            yield found


def held_out_symbols(corpus: Corpus, source: CorpusConfig) -> set[str]:
    """Returns commands, characters outside ASCII and relations that other splits have, and the training split lacks.

    Those of the corpus's further test sets count, too, even if they are not prepared.
    """
    splits = {name: {s for e in found for s in _symbols(e)} for name, found in corpus.splits.items()}
    others = set().union(*(found for name, found in splits.items() if name != "train"))
    return (others | set(_SYMBOL.findall(source.reserved))) - splits["train"]


def refuse_held_out(rows: Iterable[Example], held_out: set[str]) -> None:
    """Refuses added rows with a held-out symbol.

    Raises:
        DataError: With such a row.
    """
    for row in rows:
        if shown := _symbols(row) & held_out:
            raise DataError(
                f"data.augment adds the training row {row.source!r}, which shows {min(shown)!r}, a symbol of a test set"
                " that the training split lacks; leave data.augment out"
            )


def _symbols(example: Example) -> set[str]:
    return set(_SYMBOL.findall(f"{example.shown} {example.target or ''}"))


def joined(one: Example, other: Example, symbol: str) -> Example:
    """Returns two rows of one form with a symbol between their texts; the symbol has no role."""
    target = None if one.target is None and other.target is None else f"{one.text} {symbol} {other.text}"
    second = None if one.second is None else f"{one.second} {symbol} {other.second}"
    roles = None if one.roles is None or other.roles is None else (*one.roles, NO_ROLE, *other.roles)
    if symbol.isspace():  # it is no word
        roles = None if one.roles is None or other.roles is None else (*one.roles, *other.roles)
    return Example(f"{one.source} {symbol} {other.source}", target, roles, second)


def _renamed(
    example: Example, source: CorpusConfig, chance: float, symbols: RareSymbols, rng: random.Random
) -> Example | None:
    """Returns a row with new names for some of its letters, one at least; None if it has none."""

    def names(old: Sequence[str]) -> dict[str, str]:
        chosen = [name for name in old if rng.random() < chance] or [rng.choice(old)]
        new = {name: _new_name(symbols, rng) for name in chosen}
        return new if len(set(new.values())) == len(new) else {}

    return source.renamed(example, names)


def _new_name(symbols: RareSymbols, rng: random.Random) -> str:
    """Returns a made-up command without its backslash, or a rare character."""
    if symbols.has_characters and rng.random() < CHARACTER_SHARE:
        return symbols.draw_character()
    while True:
        name = "".join(rng.choices(string.ascii_letters, k=rng.randint(*COMMAND_LETTERS)))
        if name not in REAL_COMMANDS:
            return name


def refuse_unnamed(config: AugmentConfig, source: CorpusConfig) -> None:
    """Refuses renaming in a corpus without names.

    Raises:
        SettingError: With the way out.
    """
    if config.rename and not source.has_names:
        raise SettingError(
            f"data.augment.rename={config.rename:g} needs a corpus whose letters can be renamed, such as math, not"
            f" data.corpus.name={source.name}; set it to 0 (data.augment.join works for every corpus)"
        )
