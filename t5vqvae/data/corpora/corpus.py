"""Examples, and a corpus of them: three splits that share no source string."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from t5vqvae.errors import DataError

NO_ROLE = "none"
"""The role of a word that has none."""
TWIN = "validation_"
"""What the name of a twin's split begins with."""


@dataclass(frozen=True)
class Example:
    """One text to encode and the text to decode from its codes."""

    source: str
    target: str | None = None
    """The text to decode; None: the source itself."""
    roles: tuple[str, ...] | None = None
    """The role (semantic role, part of speech) of every white-space word of the source; None: unknown."""
    second: str | None = None
    """A second text to encode, behind the source and an end-of-text token (a second premise)."""

    def __post_init__(self) -> None:
        if self.roles is not None and len(self.roles) != len(self.source.split()):
            raise DataError(
                f"{self.source!r} has {len(self.source.split())} words but {len(self.roles)} roles; give every word one"
            )

    @property
    def text(self) -> str:
        """The text to decode: the target, or the source where there is no target."""
        return self.source if self.target is None else self.target

    @property
    def shown(self) -> str:
        """What is encoded, for readers: the source, or both texts with `</s>` between them."""
        return self.source if self.second is None else f"{self.source} </s> {self.second}"


@dataclass(frozen=True)
class Corpus:
    """Examples in three splits, and extra test sets by name (such as the out-of-distribution ones of `math`).

    Raises:
        DataError: If a split needed for training is empty, or a source string is in two splits.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example] = ()
    extra_tests: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    source: str = ""
    """Where the corpus comes from, for human readers."""
    licence: str | None = None
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False)
    """Number of rows that were read and not used, by split and reason ("missing", "empty")."""
    twins: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    """Validation sets that are out of distribution, by the name of the test set that each is a twin of."""
    fingerprint: str = field(init=False)
    """sha256 over the content and order of all splits."""

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            if not getattr(self, name):
                raise DataError(f"{self.source or 'the corpus'}: the {name} split has no sentence; add some")
        _refuse_shared_strings(self.splits)
        object.__setattr__(self, "fingerprint", _fingerprint(self.splits))

    @property
    def splits(self) -> dict[str, Sequence[Example]]:
        """Every split by name: train, validation, test, the extra test sets, and the twins."""
        twins = {f"{TWIN}{name}": examples for name, examples in self.twins.items()}
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.extra_tests, **twins}


def spaced(text: str) -> str:
    """Returns a text with single spaces for white space, as it is compared between splits.

    U+2581 counts as white space, because tokenizers write a space as that character.
    """
    return " ".join(text.replace("\u2581", " ").split())


def split_by_source(examples: Iterable[Example], fractions: tuple[float, float], seed: int) -> list[list[Example]]:
    """Cuts examples into train, validation and test; examples with the same source, but for white space, stay together.

    Args:
        examples: In any order; every split keeps that order.
        fractions: Shares of the different sources for validation and test, each in [0, 1).
        seed: Seed of the shuffle that picks the sources.
    """
    examples = list(examples)
    sources = list(dict.fromkeys(spaced(example.shown) for example in examples))
    random.Random(seed).shuffle(sources)
    num_validation, num_test = (round(fraction * len(sources)) for fraction in fractions)
    where = dict.fromkeys(sources, 0)
    where |= dict.fromkeys(sources[:num_validation], 1)
    where |= dict.fromkeys(sources[num_validation : num_validation + num_test], 2)
    return [[example for example in examples if where[spaced(example.shown)] == split] for split in range(3)]


def drop_shared(
    train: Iterable[Example], validation: Iterable[Example], test: Iterable[Example]
) -> tuple[list[Example], list[Example], list[Example]]:
    """Drops from every split the sources that a later split also has; the test split never changes."""
    test = list(test)
    tested = {spaced(example.shown) for example in test}
    validation = [example for example in validation if spaced(example.shown) not in tested]
    seen = tested | {spaced(example.shown) for example in validation}
    return [example for example in train if spaced(example.shown) not in seen], validation, test


def _refuse_shared_strings(splits: Mapping[str, Sequence[Example]]) -> None:
    sources = {name: {spaced(example.shown) for example in examples} for name, examples in splits.items()}
    for (one, first), (other, second) in itertools.combinations(sources.items(), 2):
        if shared := first & second:
            raise DataError(
                f"{len(shared)} strings are in both the {one} and the {other} split, such as {min(shared)!r}; "
                f"remove them from one, or set data.corpus.drop_shared=true if the corpus has that setting"
            )


def _fingerprint(splits: Mapping[str, Sequence[Example]]) -> str:
    sha = hashlib.sha256()
    for name, examples in splits.items():
        sha.update(f"{name} {len(examples)}\n".encode())
        for e in examples:
            sha.update(json.dumps([e.shown, e.target, e.roles]).encode())
    return sha.hexdigest()
