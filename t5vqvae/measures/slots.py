"""Latents and factors of the sentences of one template, in the forms that measures of disentanglement read.

A latent is a role's slot: what the model has at the first token of the role. A model with one latent a sentence has
none a role; each number of its vector is then a latent. Factors are the corpus's own (`CorpusConfig.factors_of`), those
that vary within the template. A corpus without roles may have parts (`CorpusConfig.parts_of`), as expressions have
letters, functions and signs: these are roles and factors, and a template is what is around them.

Letters: N sentences, F factors, D numbers of a latent, X what a position has (codes, or a vector), T positions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from t5vqvae.data.corpora.corpus import NO_ROLE
from t5vqvae.data.corpora.edits import Span
from t5vqvae.latent.sentence import Sentence, tokens_of
from t5vqvae.measures.counted import numbered

LEAST_SENTENCES = 100
"""Of a template; below, its shuffled values are too noisy."""
NUM_BINS = 20
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slots:
    """The sentences of one template.

    Attributes:
        template: Its name.
        latents: The names of its latents: roles, or numbers of the vector of a sentence.
        parts: What each latent is: the number of its code (N,), or a vector (N, D).
        factors: The names of its factors.
        factors_NF: The number of every factor's value.
    """

    template: str
    latents: Sequence[str]
    parts: Sequence[Ints | Floats]
    factors: Sequence[str]
    factors_NF: Ints

    @property
    def numbers_NL(self) -> Ints | None:
        """Every latent as a number: its code, or one of 20 bins of equal width; None for vectors of a token."""
        if any(part.ndim == 2 and part.shape[1] > 1 for part in self.parts):
            return None
        return np.stack([part if part.ndim == 1 else _bins(part[:, 0]) for part in self.parts], 1).astype(np.int64)

    @property
    def ordered(self) -> list[Floats]:
        """Every latent (N, D) for trees, which need no more than an order of the codes."""
        return [part.astype(np.float64).reshape(len(part), -1) for part in self.parts]

    @property
    def linear(self) -> list[Floats]:
        """Every latent (N, D) for linear models: codes as one-hot vectors, vectors with mean 0 and variance 1."""
        return [_one_hot(part) if part.ndim == 1 else _standard(part) for part in self.parts]

    def shuffled(self, seed: int) -> Slots:
        """Returns the same with the latents of the sentences in a random order: the control."""
        order = np.random.default_rng([seed, 1]).permutation(len(self.factors_NF))
        return replace(self, parts=[part[order] for part in self.parts])

    def halves(self, seed: int) -> tuple[Ints, Ints]:
        """Returns the sentences to fit on, two thirds of them, and those to judge by, in random order."""
        order = np.random.default_rng([seed, 2]).permutation(len(self.factors_NF))
        return order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]


def slots_of(
    sentences: Sequence[Sentence],
    roles: Sequence[Sequence[str]],
    factors: Sequence[Mapping[str, str] | None],
) -> list[Slots]:
    """Returns the slots of every template that has enough sentences, two latents and two factors.

    Args:
        sentences: Encoded sentences.
        roles: The role of every position of each; empty where it has none.
        factors: The factors of each; None for a sentence without any.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for number, found in enumerate(factors):
        if found is not None and "template" in found:
            groups[found["template"]].append(number)
    tables = [
        _table(name, [sentences[n] for n in some], [roles[n] for n in some], [factors[n] or {} for n in some])
        for name, some in sorted(groups.items())
        if len(some) >= LEAST_SENTENCES
    ]
    return [each for each in tables if len(each.latents) > 1 and len(each.factors) > 1]


def factors_of_parts(text: str, parts: Mapping[str, Span]) -> dict[str, str] | None:
    """Returns the template of a text, which is the text without its parts, and each part; None without parts."""
    if not parts:
        return None
    template, end = "", 0
    for name, (start, stop) in parts.items():
        template += f"{text[end:start]}<{name}>"
        end = stop
    return {"template": template + text[end:], **{name: text[slice(*span)] for name, span in parts.items()}}


def roles_of_parts(sentence: Sentence, parts: Mapping[str, Span]) -> list[str]:
    """Returns the part of a text that each of its tokens belongs to, as its role."""
    roles = [NO_ROLE] * len(sentence.spans)
    for name, span in parts.items():
        first, end = tokens_of(sentence.spans, span)
        roles[first:end] = [name] * (end - first)
    return roles


def _table(
    name: str,
    sentences: Sequence[Sentence],
    roles: Sequence[Sequence[str]],
    factors: Sequence[Mapping[str, str]],
) -> Slots:
    varying = [key for key in sorted(factors[0]) if key != "template" and len({each[key] for each in factors}) > 1]
    columns = [numbered([each[key] for each in factors]) for key in varying]
    factors_NF = np.stack(columns, 1) if columns else np.zeros((len(factors), 0), dtype=np.int64)
    if not sentences[0].by_token:
        vectors_NE = np.stack([each.latent_TX[0].double().cpu().numpy() for each in sentences])
        vectors_NE = vectors_NE[:, vectors_NE.std(0) > 0]
        names = [f"number {place}" for place in range(vectors_NE.shape[1])]
        return Slots(name, names, [column[:, None] for column in vectors_NE.T], varying, factors_NF)
    shared = sorted(set.intersection(*(set(row) for row in roles)) - {NO_ROLE})
    parts = [_part([each.latent_TX[row.index(role)] for each, row in zip(sentences, roles, strict=True)])
             for role in shared]  # fmt: skip
    return Slots(name, shared, parts, varying, factors_NF)


def _part(rows: Sequence[object]) -> Ints | Floats:
    import torch

    stacked_NX = torch.stack([row for row in rows if isinstance(row, torch.Tensor)]).cpu()
    if stacked_NX.is_floating_point():
        return stacked_NX.double().numpy()
    return numbered(list(map(tuple, stacked_NX.tolist())))


def _bins(values_N: Floats | Ints) -> Ints:
    edges = np.linspace(values_N.min(), values_N.max(), NUM_BINS + 1)[1:-1]
    return np.digitize(values_N, edges).astype(np.int64)


def _one_hot(codes_N: Ints | Floats) -> Floats:
    return np.eye(int(codes_N.max()) + 1)[codes_N.astype(np.int64)]


def _standard(vectors_ND: Floats | Ints) -> Floats:
    spread_D = vectors_ND.std(0)
    return (vectors_ND - vectors_ND.mean(0)) / np.where(spread_D > 0, spread_D, 1.0)
