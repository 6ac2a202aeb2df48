"""The corpus `syllogisms`: from quantified premises to what follows between the ends of their chain.

The premises "all daks are lupis . no lupis are zefs ." give "no daks are zefs". A chain of h hops has h + 1 premises.
Some premises have nothing to do with the chain (a distractor, of two other classes). Nouns are made up, so no
answer is known from elsewhere. A quarter of the answers are "nothing follows"; the other relations are equally
frequent. Of the symmetric conclusions (no, some) the subject is the end whose noun comes first in the text.

With `two_texts` the premises are two texts, encoded one behind the other: without distractors, a chain of one hop has
one premise in each, which is what `model.premises` encodes jointly or separately.

Training, validation and test have few hops. Extra test sets, each of other chains: `LONG` has more hops, in order;
`LONGSHUFFLED` as many, in random order; `NOUNS` nouns that training lacks; `SHUFFLED` few hops, all in random order. A
random order may be the chain's own, as that of two premises is in half of all cases.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from t5vqvae.config import setting
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import Corpus, Example
from t5vqvae.data.corpora.kept_corpus import load_kept
from t5vqvae.data.corpora.syllogism_chains import LINKS, RELATIONS, Link, Relation, conclusion, draw_chain
from t5vqvae.errors import DataError, SettingError
from t5vqvae.files import digest

SYLLOGISMS_VERSION = 2
"""Raise it with every change of what is generated: cached corpora of the old version are then ignored."""
NOTHING = "nothing follows"
NOTHING_SHARE = 0.25
MAX_IDLE_DRAWS = 20_000
"""Draws in a row without a new text after which the generator counts as exhausted."""
_ONSETS = [*"bdfghklmnprstvwz", "bl", "br", "dr", "fl", "gr", "kl", "pl", "pr", "sk", "sn", "st", "tr"]
_VOWELS = "aeiou"
_CODAS = "bdfgklmnprt"


class SyllogismsCorpus(CorpusConfig):
    """Generated chains of quantified premises and their conclusion."""

    name: Literal["syllogisms"] = "syllogisms"
    size: int = setting(40_000, ge=1, description="training chains")
    validation_size: int = setting(1_000, ge=1)
    test_size: int = setting(1_000, ge=1, description="chains of the test split and of each extra test set")
    num_nouns: int = setting(1_000, ge=16, le=3_000, description="nouns of training, and as many others for NOUNS")
    train_hops: int = setting(2, ge=1, le=4, description="most hops of training chains; LONG has more")
    test_hops: int = setting(5, ge=2, le=6, description="most hops of LONG and LONGSHUFFLED")
    shuffled: float = setting(0.5, ge=0, le=1, description="share of training chains whose premises are shuffled")
    distractors: float = setting(0.5, ge=0, le=1, description="share of chains with a premise outside of the chain")
    two_texts: bool = setting(False, description="the first half of the premises as one text, the rest as a second one")
    seed: int = setting(0, ge=0)

    @property
    def gives_pairs(self) -> bool:
        return self.two_texts

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.test_hops <= self.train_hops:
            raise SettingError(
                f"data.corpus.test_hops={self.test_hops} must be more than data.corpus.train_hops={self.train_hops}"
            )
        return self

    def load(self, cache_dir: Path) -> Corpus:
        key = digest(self.as_dict(), self.stamp(cache_dir))
        return load_kept(cache_dir / "corpora" / f"syllogisms-{key[:16]}.jsonl", lambda: _generate(self))

    def stamp(self, cache_dir: Path) -> object:
        return SYLLOGISMS_VERSION


@dataclass(frozen=True)
class _Kind:
    """What a split draws: its nouns, fewest and most hops, and the share of shuffled chains."""

    nouns: Sequence[str]
    hops: tuple[int, int]
    shuffled: float
    distractors: float


def write_premise(link: Link, earlier: str, later: str) -> str:
    """Returns a statement about two classes of a chain."""
    quantifier, back = link
    subject, other = (later, earlier) if back else (earlier, later)
    return f"{quantifier} {subject} are {other} ."


def write_conclusion(relation: Relation, first: str, last: str, premises: str) -> str:
    """Returns the answer about the ends of a chain.

    Args:
        relation: What follows.
        first: The noun at the chain's beginning.
        last: The noun at its end.
        premises: The text, whose order decides the subject of a symmetric answer.
    """
    if relation == "nothing":
        return NOTHING
    words = premises.split()
    quantifier = relation.removesuffix(" back")
    symmetric = relation in ("no", "some")
    if relation.endswith(" back") or (symmetric and words.index(last) < words.index(first)):
        first, last = last, first
    return f"{quantifier} {first} are {last}"


def draw_example(kind: _Kind, rng: random.Random) -> Example:
    """Draws the premises of a chain and their conclusion."""
    length = rng.randint(*kind.hops) + 1
    follows = [relation for relation in RELATIONS if relation != "nothing"]
    links = draw_chain(length, "nothing" if rng.random() < NOTHING_SHARE else rng.choice(follows), rng)
    nouns = rng.sample(kind.nouns, length + 3)
    premises = [write_premise(link, *nouns[place : place + 2]) for place, link in enumerate(links)]
    is_shuffled, is_distracted = rng.random() < kind.shuffled, rng.random() < kind.distractors
    if is_shuffled:
        rng.shuffle(premises)
    if is_distracted:
        premises.insert(rng.randint(0, length), write_premise(rng.choice(LINKS), *nouns[-2:]))
    text = " ".join(premises)
    return Example(text, write_conclusion(conclusion(links), nouns[0], nouns[length], text))


def in_two_texts(example: Example) -> Example:
    """Returns a chain whose premises are cut into two texts; of an odd number the first has one more."""
    premises = _premises(example)
    half = (len(premises) + 1) // 2
    first, second = (" ".join(f"{premise} ." for premise in some) for some in (premises[:half], premises[half:]))
    return replace(example, source=first, second=second)


def made_up_nouns(number: int, rng: random.Random) -> list[str]:
    """Draws different plural nouns of one or two syllables."""
    found: dict[str, None] = {}
    while len(found) < number:
        onset, second = rng.choice(_ONSETS), rng.choice(_ONSETS)
        start = onset + rng.choice(_VOWELS)
        tail = rng.choice(_CODAS) if rng.random() < 0.5 else second + rng.choice(_VOWELS)
        found[f"{start}{tail}s"] = None
    return list(found)


def _generate(config: SyllogismsCorpus) -> Corpus:
    rng = random.Random(f"{config.seed} syllogisms")
    nouns = made_up_nouns(2 * config.num_nouns, rng)
    known, others = nouns[: config.num_nouns], nouns[config.num_nouns :]
    few, many = (1, config.train_hops), (config.train_hops + 1, config.test_hops)
    usual = _Kind(known, few, config.shuffled, config.distractors)
    kinds = {
        "test": (usual, config.test_size),
        "LONG": (_Kind(known, many, 0.0, config.distractors), config.test_size),
        "LONGSHUFFLED": (_Kind(known, many, 1.0, config.distractors), config.test_size),
        "NOUNS": (_Kind(others, few, config.shuffled, config.distractors), config.test_size),
        "SHUFFLED": (_Kind(known, few, 1.0, config.distractors), config.test_size),
        "validation": (usual, config.validation_size),
        "train": (usual, config.size),
    }
    seen: set[str] = set()
    splits = {name: _draw_different(kind, number, seen, rng) for name, (kind, number) in kinds.items()}
    if config.two_texts:
        splits = {name: [in_two_texts(example) for example in examples] for name, examples in splits.items()}
    main = [splits.pop(name) for name in ("train", "validation", "test")]
    return Corpus(main[0], main[1], main[2], splits, source="generated chains of syllogisms", licence="Apache-2.0")


def _draw_different(kind: _Kind, number: int, seen: set[str], rng: random.Random) -> list[Example]:
    """Draws examples whose premises, in any order, no split has yet.

    Raises:
        DataError: If there are too few.
    """
    found: list[Example] = []
    idle = 0
    while len(found) < number:
        example = draw_example(kind, rng)
        key = " . ".join(sorted(_premises(example)))
        idle = idle + 1 if key in seen else 0
        if idle > MAX_IDLE_DRAWS:
            raise DataError(
                f"data.corpus.size: only {len(found)} of {number} different chains were found; lower it, or raise"
                " data.corpus.num_nouns"
            )
        if not idle:
            seen.add(key)
            found.append(example)
    return found


def _premises(example: Example) -> list[str]:
    """Returns the premises of a chain that is one text, without their full stops."""
    return example.source.removesuffix(" .").split(" . ")
