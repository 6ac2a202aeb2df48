"""Traversal precision: does swapping one code change the words at its position, and nothing else?

In sentences that the model reconstructs exactly, the code at a position is replaced by each of its nearest codes in
use. A swap is precise if the decoded text is valid, differs from the sentence, and differs only in the words of the
position's role (or in its own word, where the corpus has no roles). A text that does not change is not precise. The
control takes random codes in use instead of the nearest ones.

Letters: T positions, Q codes a position.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import NO_ROLE
from t5vqvae.data.corpora.edits import Span, by_space
from t5vqvae.data.texts import same_text
from t5vqvae.latent.code_use import words_of
from t5vqvae.latent.code_vectors import nearest_codes, num_entries
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.latent.traversal import swapped
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.stages import stage

NUM_POSITIONS = 3
"""In every sentence."""
NUM_CODES = 4
"""At every position."""
NUM_SHOWN = 12


@dataclass(frozen=True)
class Place:
    """A position of a sentence, with the words before and behind those that a swap there may change.

    Attributes:
        sentence: The sentence.
        position: The position.
        codebook: The codebook whose code is swapped.
        before: The words before.
        behind: The words behind.
        spans_of: Cuts a text into words.
    """

    sentence: Sentence
    position: int
    codebook: int
    before: tuple[str, ...]
    behind: tuple[str, ...]
    spans_of: Callable[[str], list[Span]] = by_space

    def is_within(self, text: str) -> bool:
        """Whether a text has all the words around, in their places, and at least one between them."""
        words = [text[slice(*span)] for span in self.spans_of(text)]
        start, end = len(self.before), len(self.behind)
        around = tuple(words[:start]) == self.before and tuple(words[len(words) - end :]) == self.behind
        return around and len(words) > start + end


def place_of(
    sentence: Sentence,
    position: int,
    codebook: int,
    roles: Sequence[str],
    spans_of: Callable[[str], list[Span]] = by_space,
) -> Place | None:
    """Returns a position with its surroundings; None at the end of the text, and outside roles."""
    spans = spans_of(sentence.text)
    words, own = [sentence.text[slice(*span)] for span in spans], word_numbers(sentence, spans)
    number = own[position]
    if number is None or (roles and roles[position] == NO_ROLE):
        return None
    alike = [own[place] for place, role in enumerate(roles) if role == roles[position]] if roles else [number]
    inside = [each for each in alike if each is not None]
    before, behind = tuple(words[: min(inside)]), tuple(words[max(inside) + 1 :])
    return Place(sentence, position, codebook, before, behind, spans_of)


def word_numbers(sentence: Sentence, words: Sequence[Span]) -> list[int | None]:
    """Returns the number of the word that has the last character of each token; None where none has."""
    counts = [sum(start < end for start, _ in words) - 1 for _, end in sentence.spans]
    blank = [not sentence.text[start:end].strip() for start, end in sentence.spans]
    return [None if empty else count for count, empty in zip(counts, blank, strict=True)]


@measure("traversal")
def traversal(probed: Probed) -> Found:
    """Measures how often a swap of one code changes what stands at its position, and only that."""
    corpus = probed.spec.data.corpus
    if probed.model.leaks or not probed.model.has_codes or not corpus.has_edits:
        return Found()
    space = probed.space()
    rng = random.Random(f"{probed.seed} traversals")
    with stage("swapping codes"):
        rows = rng.sample(range(len(probed.texts)), min(len(probed.texts), max(2, probed.num_edits // 10)))
        sentences = space.encode([probed.texts[row] for row in rows])
        texts = space.reconstruct(sentences)
        places: list[Place] = []
        for row, sentence, text in zip(rows, sentences, texts, strict=True):
            if sentence.by_token and same_text(text, sentence.text):
                places += _places(sentence, probed.roles[row], space.model.quantizer.num_codebooks, rng, corpus)
        used = _used(sentences)
        near = [(place, code) for place in places for code in _nearest(space, place, used)]
        anything = [(place, code) for place in places for code in _random(place, used, rng)]
        found = _swap(space, near), _swap(space, anything)
    return found_of(near, *found, probed)


def found_of(
    near: Sequence[tuple[Place, int]], texts: Sequence[str], random_texts: Sequence[str], probed: Probed
) -> Found:
    """Returns the metrics of swaps by nearest and by random codes, and examples of the first."""
    if not near:
        return Found()
    corpus = probed.spec.data.corpus
    is_valid, cut = corpus.is_valid, corpus.word_spans
    plain = [place.sentence.text for place, _ in near]
    precise = [is_precise(place, text) and is_valid(text) for (place, _), text in zip(near, texts, strict=True)]
    by_chance = [is_precise(p, text) and is_valid(text) for (p, _), text in zip(near, random_texts, strict=True)]
    changed = [not same_text(text, before) for text, before in zip(texts, plain, strict=True)]
    rows: list[Row] = [
        {"source": place.sentence.text, "word": words_of(place.sentence, cut)[place.position], "code": code,
         "decoded": text, "precise": "yes" if good else "no"}
        for (place, code), text, good in list(zip(near, texts, precise, strict=True))[:NUM_SHOWN]
    ]  # fmt: skip
    metrics = {"precision": precise, "precision_random": by_chance, "changed_share": changed}
    return Found({f"traversal/{name}": sum(each) / len(each) for name, each in metrics.items()}, {"Traversals": rows})


def is_precise(place: Place, text: str) -> bool:
    """Whether a text differs from a sentence, and only where a swap at a position may change it."""
    return not same_text(text, place.sentence.text) and place.is_within(text)


def _places(
    sentence: Sentence, roles: Sequence[str], codebooks: int, rng: random.Random, corpus: CorpusConfig
) -> list[Place]:
    order = rng.sample(range(len(sentence.spans)), len(sentence.spans))
    found = (place_of(sentence, position, rng.randrange(codebooks), roles, corpus.word_spans) for position in order)
    return [place for place in found if place is not None][:NUM_POSITIONS]


def _used(sentences: Sequence[Sentence]) -> list[set[int]]:
    columns = len(sentences[0].latent_TX[0])
    return [{code for each in sentences for code in each.latent_TX[:, q].tolist()} for q in range(columns)]


def _nearest(space: LatentSpace, place: Place, used: Sequence[set[int]]) -> list[int]:
    quantizer, codes_Q = space.model.quantizer, place.sentence.latent_TX[place.position]
    ordered = nearest_codes(quantizer, codes_Q, place.codebook, num_entries(quantizer, place.codebook))
    return [code for code, _ in ordered if code in used[place.codebook]][:NUM_CODES]


def _random(place: Place, used: Sequence[set[int]], rng: random.Random) -> list[int]:
    own = int(place.sentence.latent_TX[place.position, place.codebook])
    others = sorted(used[place.codebook] - {own})
    return rng.sample(others, min(NUM_CODES, len(others)))


def _swap(space: LatentSpace, swaps: Sequence[tuple[Place, int]]) -> list[str]:
    changed: list[Tensor] = [swapped(p.sentence.latent_TX, p.position, p.codebook, code) for p, code in swaps]
    return space.decode(changed, [place.sentence.prompt_codes_PQ for place, _ in swaps])
