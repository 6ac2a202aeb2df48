"""Control: does an edit of the codes change what it should, and only that?

The right answer of every edit is known from the corpus's generator (see `t5vqvae.data.corpora.edits`). Local and
distributed factors are reported apart: codes that merely name tokens are near 1 on the first and near 0 on the second.

- `intervention`: share of edits whose decoded text is the answer, up to white space.
- `locality`: share of the source's words outside the answer's changes that the decoded text keeps in their order;
  `validity`: share of decoded texts that the generator could have written. Both over edits that changed the text:
  a model that ignores every edit has locality 1. So they bound a choice, and never make it.
- `ceiling` (in a probe): the same share with the answer itself for a donor. Codes are copied from a minimal pair there,
  so it says how much is lost because a donor differs, and is no control.
- The same intervention over edits whose source and donor the model reconstructs exactly, and the share of these.

Intervals: over edits, by the bootstrap of the caller; edits share sentences, so treat them as of one model.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from t5vqvae.data.checked import kept_file
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Edit, Kind
from t5vqvae.data.role_reader import RoleReader
from t5vqvae.data.texts import kept_places, same_text
from t5vqvae.files import digest
from t5vqvae.latent.intervention import apply_edits, from_answers, sparse_sources
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.stages import stage

SplitName = Literal["validation", "test"]
KINDS: tuple[Kind, ...] = ("local", "distributed")
EDITS_VERSION = 1
"""Raise it with every change of how edits are drawn or chosen: cached ones are then drawn anew."""
SPARSE = {
    "control/local_intervention": "control/sparse_local_intervention",
    "control/distributed_intervention": "control/sparse_distributed_intervention",
    "control/locality": "control/sparse_locality",
    "control/validity": "control/sparse_validity",
}
"""What is measured of sparse codes, too, and its key."""


@dataclass(frozen=True)
class Control:
    """Edits with known answers, the judge of what comes of them, the roles of their words, and what cuts words."""

    edits: Sequence[Edit]
    is_valid: Callable[[str], bool]
    roles: RoleReader | None = None
    words: Callable[[str], list[str]] = str.split

    @classmethod
    def of(
        cls,
        corpus: CorpusConfig,
        cache_dir: Path,
        split: SplitName,
        number: int,
        seed: int,
        role_names: Sequence[str],
    ) -> Control:
        """Returns a seeded subset of a split's edits, of every factor about the same number; cached on disk.

        Args:
            corpus: The corpus.
            cache_dir: Cache of edits.
            split: Where source and donor lie.
            number: Edits to choose.
            seed: Seed of the choice.
            role_names: The names of the roles that the model was trained with, in the order of their numbers.

        Raises:
            DataError: If the corpus has no edits with known answers.
        """
        corpus.require_edits()
        key = digest(EDITS_VERSION, corpus.as_dict(), corpus.stamp(cache_dir), split, number, seed)
        file = cache_dir / "edits" / f"{key[:24]}.jsonl"

        with stage("finding edits with known answers"):
            edits = kept_edits(file, lambda: choose(corpus.edits(cache_dir, split, number, seed), number, seed))
        return cls(edits, corpus.is_valid, RoleReader(corpus, role_names), corpus.words)

    def part(self, rank: int, num_workers: int) -> Control:
        """Returns one worker's share."""
        return replace(self, edits=self.edits[rank::num_workers])


@dataclass(frozen=True)
class Outcome:
    """What came of one edit.

    Attributes:
        edit: The edit.
        decoded: The text after it.
        plain: The text that the model decodes for the source without it, from codes of which the same are sent.
        donor_plain: The text that it decodes for the donor, of which all are sent.
        valid: Whether the generator could have written `decoded`.
        words: Cuts a text into words.
    """

    edit: Edit
    decoded: str
    plain: str
    donor_plain: str
    valid: bool
    words: Callable[[str], list[str]] = str.split

    @property
    def is_answer(self) -> bool:
        """Whether the decoded text is the right answer, up to white space."""
        return same_text(self.decoded, self.edit.answer)

    @property
    def changed(self) -> bool:
        """Whether the edit changed the text."""
        return not same_text(self.decoded, self.plain)

    @property
    def reconstructed(self) -> bool:
        """Whether the model reconstructs source and donor exactly."""
        return same_text(self.plain, self.edit.source) and same_text(self.donor_plain, self.edit.donor)

    @property
    def kept(self) -> float:
        """Share of the source's words outside the answer's changes that stayed, in their order; 1 if there are none."""
        source = self.words(self.edit.source)
        outside = kept_places(source, self.words(self.edit.answer))
        stayed = kept_places(source, self.words(self.decoded))
        return len(outside & stayed) / len(outside) if outside else 1.0


def kept_edits(file: Path, draw: Callable[[], Sequence[Edit]]) -> list[Edit]:
    """Returns the edits in a file of the cache; draws and writes them first where it is missing."""

    def write(scratch: Path) -> None:
        scratch.write_text("".join(json.dumps(vars(edit)) + "\n" for edit in draw()), encoding="utf-8")

    lines = kept_file(file, write).read_text(encoding="utf-8").splitlines()
    return [_read_edit(json.loads(line)) for line in lines]


def _read_edit(values: dict[str, Any]) -> Edit:
    spans = {name: tuple(values[name]) for name in ("source_span", "donor_span")}
    return Edit(**{**values, **spans})


def choose(edits: Sequence[Edit], number: int, seed: int) -> list[Edit]:
    """Returns a seeded subset: of every factor about the same number, fewer where there are fewer."""
    by_factor: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        by_factor[edit.factor].append(edit)
    rng = random.Random(f"{seed} control")
    queues = [rng.sample(found, len(found)) for _, found in sorted(by_factor.items())]
    turns = (queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue))
    return [edit for edit, _ in zip(turns, range(number), strict=False)]


@dataclass(frozen=True)
class Edited:
    """The outcomes of edits, in their order.

    Attributes:
        whole: Those of whole codes.
        sparse: Those of sparse codes; none if these were not edited.
        ceiling: Those of edits whose donor is the answer itself; none if these were not made.
    """

    whole: Sequence[Outcome]
    sparse: Sequence[Outcome] = ()
    ceiling: Sequence[Outcome] = ()


def run_edits(
    model: TextAutoencoder,
    control: Control,
    *,
    max_new_tokens: int,
    batch_size: int = 128,
    unsent: float | None = None,
    with_ceiling: bool = False,
) -> Edited:
    """Edits, decodes and judges.

    Args:
        model: Any text autoencoder with its tokenizer; it is put into evaluation mode meanwhile.
        control: The edits.
        max_new_tokens: Tokens after which decoding stops.
        batch_size: Sentences that are encoded or decoded together.
        unsent: Edits sparse codes, too; see `sparse_sources`.
        with_ceiling: Makes the edits of `from_answers`, too.

    Raises:
        DataError: If the model's decoder reads more than latents.
    """
    edits, was_training = control.edits, model.training
    try:
        with stage("editing codes"):
            space = LatentSpace(model, max_new_tokens, batch_size, control.roles)
            copied = from_answers(edits) if with_ceiling else []
            texts = list(dict.fromkeys(text for edit in [*edits, *copied] for text in (edit.source, edit.donor)))
            encoded = dict(zip(texts, space.encode(texts), strict=True))
            plain = dict(zip(texts, space.reconstruct(list(encoded.values())), strict=True))
            whole, ceiling = apply_edits(space, edits, encoded), apply_edits(space, copied, encoded)
            sources = [] if unsent is None else sparse_sources(space, edits, unsent)
            sparse = apply_edits(space, edits, encoded, sources) if sources else []
            sparse_plain = space.reconstruct(sources)
    finally:
        model.train(was_training)

    def judged(made: Sequence[Edit], decoded: Sequence[str], before: Sequence[str] | None = None) -> list[Outcome]:
        before = [plain[edit.source] for edit in made] if before is None else before
        rows = zip(made, decoded, before, strict=True)
        return [Outcome(e, text, own, plain[e.donor], control.is_valid(text), control.words) for e, text, own in rows]

    return Edited(judged(edits, whole), judged(edits[: len(sparse)], sparse, sparse_plain), judged(copied, ceiling))


def scores(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns the `control/` metrics; a metric over no edit at all is left out."""
    parts = {kind: [outcome for outcome in outcomes if outcome.edit.kind == kind] for kind in KINDS}
    exact = [outcome for outcome in outcomes if outcome.reconstructed]
    changed = [outcome for outcome in outcomes if outcome.changed]
    values: dict[str, list[float]] = {}
    for kind, part in parts.items():
        values[f"{kind}_intervention"] = [outcome.is_answer for outcome in part]
        values[f"{kind}_intervention_exact"] = [outcome.is_answer for outcome in part if outcome.reconstructed]
    values |= {
        "locality": [outcome.kept for outcome in changed],
        "validity": [outcome.valid for outcome in changed],
        "locality_exact": [outcome.kept for outcome in changed if outcome.reconstructed],
        "validity_exact": [outcome.valid for outcome in changed if outcome.reconstructed],
        "changed_share": [outcome.changed for outcome in outcomes],
        "exact_share": [outcome.reconstructed for outcome in outcomes],
    }
    found = {f"control/{name}": sum(each) / len(each) for name, each in values.items() if each}
    return found if exact else {key: value for key, value in found.items() if not key.endswith("_exact")}


def sparse_scores(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns the metrics of edits of sparse codes, under the keys of `SPARSE`."""
    found = scores(outcomes)
    return {sparse: found[whole] for whole, sparse in SPARSE.items() if whole in found}


def ceiling_scores(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns the share of right answers by kind where the donor is the answer itself."""
    parts = {kind: [each.is_answer for each in outcomes if each.edit.kind == kind] for kind in KINDS}
    return {f"control/{kind}_ceiling": sum(part) / len(part) for kind, part in parts.items() if part}


def by_factor(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, int]]:
    """Returns the share of right answers and the number of edits of every factor."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.edit.factor].append(outcome.is_answer)
    return {factor: (sum(group) / len(group), len(group)) for factor, group in sorted(groups.items())}
