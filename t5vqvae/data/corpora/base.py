"""A corpus: examples in three splits that share no source string, and the configs that load one.

To add a corpus, write one file with a `CorpusConfig` that has a `name` and a `load`, and import it in `registry.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from t5vqvae.config import Variant
from t5vqvae.data.checked import kept_file
from t5vqvae.data.corpora.edits import Edit, Span, Splice, by_space
from t5vqvae.errors import DataError, SettingError

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


class CorpusConfig(Variant):
    """The settings of one corpus; `name` picks the variant."""

    default_tokenizer: ClassVar[Literal["latex", "unigram"]] = "unigram"
    """The tokenizer to train when there is no pretrained backbone."""

    draws_gate: ClassVar[bool] = False
    """Whether it can draw further examples, by which promotions decide."""

    def load(self, cache_dir: Path) -> Corpus:
        """Reads or generates the corpus.

        Args:
            cache_dir: Cache of generated and fetched corpora.

        Raises:
            DataError: If it is missing, malformed, or shares strings between its splits.
        """
        raise NotImplementedError

    def stamp(self, cache_dir: Path) -> object:
        """Returns what else decides the content (file sizes and times, versions), as plain values.

        It must be cheap: every run calls it, while `load` runs once.
        """
        return None

    def gate(self, cache_dir: Path) -> Mapping[str, Sequence[Example]]:
        """Returns examples by which a promotion decides: a split `gate`, and shifted ones by name.

        They share no source with any other split, and no other split depends on them. Defined where `draws_gate` is
        true: where the corpus is generated.
        """
        raise NotImplementedError

    def edits(self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int) -> list[Edit]:
        """Returns edits with known answers, up to `per_factor` of each factor, the same for the same seed.

        Source and donor lie in the split. The answer and the contrast lie in it, or in no split at all.

        Raises:
            DataError: If the corpus has no factors whose edits have known answers.
        """
        raise NotImplementedError

    def moved_edits(
        self, cache_dir: Path, split: Literal["validation", "test"], per_factor: int, seed: int
    ) -> list[Edit]:
        """Returns `edits` whose answer is printed in another order, to be judged by `same_meaning`; none by default."""
        return []

    def same_meaning(self, answer: str, decoded: str) -> Literal["right", "wrong", "undecided"]:
        """Returns whether a decoded text means what an answer does; defined where there are `moved_edits`."""
        raise NotImplementedError

    def splices(self, cache_dir: Path, split: Literal["validation", "test"], per_kind: int, seed: int) -> list[Splice]:
        """Returns splices with known answers, up to `per_kind` of each kind; none where a corpus defines none."""
        return []

    def split_and_others(self, cache_dir: Path, split: str) -> tuple[list[str], set[str]]:
        """Returns the source texts of a split, and those of all others."""
        texts = {name: [example.source for example in found] for name, found in self.load(cache_dir).splits.items()}
        return texts[split], {text for name, some in texts.items() if name != split for text in some}

    @property
    def has_edits(self) -> bool:
        """Whether `edits` and `is_valid` are defined; a corpus with known factors overrides all three."""
        return False

    def require_edits(self) -> None:
        """Refuses a corpus without edits.

        Raises:
            DataError: With the corpora that have some.
        """
        if not self.has_edits:
            raise DataError(
                f"data.corpus.name={self.name} has no edits with known answers, which evaluate.control counts; take"
                " math, or grammar with data.corpus.version=2"
            )

    def gate_ood(self, corpus: Corpus, drawn: Mapping[str, Sequence[Example]], size: int) -> dict[str, list[Example]]:
        """Returns further sets by which a promotion decides, out of distribution as the test sets with a twin are.

        Defined where `draws_gate` is true and the corpus has twins.

        Args:
            corpus: The corpus with its twins and harder tests, no sentence of which is in these sets.
            drawn: What `gate` returned.
            size: Largest number of sentences of each set.
        """
        raise NotImplementedError

    harder_names: ClassVar[tuple[str, ...]] = ()
    """Names of the sets that `harder_tests` may return."""

    reserved: ClassVar[str] = ""
    """A text with every symbol of twins and harder tests: augmentation never shows one, prepared or not."""

    def twins(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        """Returns validation sets that are out of distribution, each with up to `size` sentences of no other split.

        A search may read them, so each has other strings and other symbols than the test set whose name it has.

        Raises:
            SettingError: If the corpus has none.
        """
        raise SettingError(f"data.ood={size} needs a corpus with twins of its test sets, such as math; set it to 0")

    def harder_tests(self, corpus: Corpus, size: int) -> dict[str, list[Example]]:
        """Returns test sets without a twin, each with up to `size` sentences of no other split; no search reads them.

        Raises:
            SettingError: If the corpus has none.
        """
        raise SettingError(f"data.harder={size} needs a corpus with harder tests, such as math; set it to 0")

    @property
    def has_names(self) -> bool:
        """Whether `renamed` is defined."""
        return False

    def renamed(self, example: Example, names: Callable[[Sequence[str]], Mapping[str, str]]) -> Example | None:
        """Returns an example with other names, in the corpus's own form; None if it has no names.

        Args:
            example: One of the corpus.
            names: Returns new names for some of the sorted old ones; more than one letter makes a command.
        """
        raise NotImplementedError

    @property
    def has_meaning(self) -> bool:
        """Whether `judge` is defined."""
        return False

    def judge(self, source: str, answer: str) -> Literal["right", "wrong", "undecided"]:
        """Returns whether a decoded answer means what a source asks for, whatever its form."""
        raise NotImplementedError

    @property
    def may_have_pairs(self) -> bool:
        """Whether a source may be two texts; of rows that a user gives, only the rows tell."""
        return True

    def operator_of(self, token: str) -> str | None:
        """Returns the operator that a token is, "none" for other tokens; None if the corpus has no operators."""
        del token
        return None

    def is_valid(self, text: str) -> bool:
        """Returns whether the corpus's generator could have written a text; defined where `edits` is."""
        raise NotImplementedError

    def word_spans(self, text: str) -> list[Span]:
        """Returns the words of a text: what an edit changes or leaves alone."""
        return by_space(text)

    def words(self, text: str) -> list[str]:
        """Returns the words of `word_spans` themselves."""
        return [text[start:end] for start, end in self.word_spans(text)]

    def parts_of(self, text: str) -> dict[str, Span] | None:
        """Returns the parts of a text that another value may replace, by name, in their order; None: not known.

        Texts that agree outside of such parts are of one template.
        """
        return None

    def factors_of(self, text: str) -> dict[str, str] | None:
        """Returns the value of every factor of a text, "none" where it lacks one; None if `is_valid` refuses it."""
        raise NotImplementedError

    @property
    def tells_roles(self) -> bool:
        """Whether `roles_of` knows the roles of texts that are in no split."""
        return False

    def roles_of(self, text: str) -> tuple[str, ...] | None:
        """Returns the role of every white-space word of a text, which need not be in a split; None: unknown."""
        return None


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


def load_kept(path: Path, build: Callable[[], Corpus]) -> Corpus:
    """Returns the corpus cached in the file `path`; builds and writes it first when it is missing or damaged.

    For corpora that take longer to generate than to read. The file's name must depend on everything that decides the
    content.
    """
    return _read(kept_file(path, lambda scratch: _write(build(), scratch)))


def _write(corpus: Corpus, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps([corpus.source, corpus.licence, list(corpus.extra_tests)]) + "\n")
        for name, examples in corpus.splits.items():
            file.writelines(json.dumps([name, e.source, e.target, e.roles, e.second]) + "\n" for e in examples)


def _read(path: Path) -> Corpus:
    with path.open(encoding="utf-8") as file:
        source, licence, extra = json.loads(next(file))
        splits: dict[str, list[Example]] = {name: [] for name in ("train", "validation", "test", *extra)}
        for name, text, target, roles, second in map(json.loads, file):
            splits[name].append(Example(text, target, None if roles is None else tuple(roles), second))
    main = {name: splits.pop(name) for name in ("train", "validation", "test")}
    return Corpus(main["train"], main["validation"], main["test"], splits, source, licence)


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
