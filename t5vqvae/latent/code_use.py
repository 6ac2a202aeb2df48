"""What codes stand for: the words that use them, how pure they are, and what a swap changes.

The purity of a code is the share of its uses on its most frequent word. Rare codes are pure by chance, so the purity
that the same code would have if codes were dealt to the words at random, as often as they occur, stands next to it.

Letters: T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.data.corpora.edits import Span, by_space
from t5vqvae.errors import DataError
from t5vqvae.latent.code_vectors import nearest_codes, num_entries
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import SPACE, Sentence
from t5vqvae.latent.traversal import refuse_codebook, swapped

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec

WordSpans = Callable[[str], Sequence[Span]]
"""Returns the places of a text's words."""
END = "</s>"
"""What a position without a word, the end of the text, is called."""
SWAPS = 20
"""Sentences in which a code is swapped."""


@dataclass(frozen=True)
class CodeUse:
    """The use of one code.

    Attributes:
        code: The code.
        count: Its occurrences.
        words: Its words, the most frequent first, with how often it stands for each.
        purity: Share of its occurrences on its most frequent word.
        shuffled_purity: The same if codes were dealt to the words at random.
    """

    code: int
    count: int
    words: tuple[tuple[str, int], ...]
    purity: float
    shuffled_purity: float


@dataclass(frozen=True)
class CodeSwap:
    """One occurrence of a code, and the text when its nearest code that is in use takes its place.

    Attributes:
        sentence: The sentence.
        position: Where the code is.
        word: The word that it stands for.
        swapped_to: The code that took its place.
        plain: The text that the codes decode to unchanged.
        text: The text after the swap.
    """

    sentence: Sentence
    position: int
    word: str
    swapped_to: int
    plain: str
    text: str


def cut_of(spec: RunSpec | None) -> WordSpans:
    """Returns what cuts a text into words: the corpus of a run, or white space without one."""
    return by_space if spec is None else spec.data.corpus.word_spans


def words_of(sentence: Sentence, cut: WordSpans = by_space) -> list[str]:
    """Returns the word of every position: that of the token's last character.

    A space alone is `SPACE`, the end of the text `END`.

    Args:
        sentence: The sentence.
        cut: Returns the places of a text's words, as the corpus defines them.
    """
    ends = {last: sentence.text[start:end] for start, end in cut(sentence.text) for last in range(start + 1, end + 1)}
    return [ends.get(end, SPACE) if start < end else END for start, end in sentence.spans]


def use_of_codes(
    sentences: Sequence[Sentence], codebook: int = 0, cut: WordSpans = by_space, seed: int = 0
) -> list[CodeUse]:
    """Returns the use of every code that occurs, the most frequent first."""
    pairs = [
        (code, word)
        for sentence in sentences
        for code, word in zip(sentence.latent_TX[:, codebook].tolist(), words_of(sentence, cut), strict=True)
    ]
    codes = [code for code, _ in pairs]
    random.Random(f"{seed} codes").shuffle(codes)
    dealt = _words_by_code(list(zip(codes, [word for _, word in pairs], strict=True)))
    found = [
        CodeUse(code, words.total(), tuple(words.most_common()), _purity(words), _purity(dealt[code]))
        for code, words in _words_by_code(pairs).items()
    ]
    return sorted(found, key=lambda use: (-use.count, use.code))


def swaps_of(
    space: LatentSpace,
    sentences: Sequence[Sentence],
    code: int,
    codebook: int = 0,
    most: int = SWAPS,
    cut: WordSpans = by_space,
) -> list[CodeSwap]:
    """Returns what changes when a code's nearest code in use takes its place, one occurrence a sentence.

    Raises:
        DataError: If the code is none of the codebook, no sentence uses it, or none uses another one.
    """
    space.require_codes("a swap")
    refuse_codebook(space, codebook)
    size = num_entries(space.model.quantizer, codebook)
    if not 0 <= code < size:
        raise DataError(f"code={code} must lie between 0 and {size - 1}: the codebook has {size} entries")
    used = {each for sentence in sentences for each in sentence.latent_TX[:, codebook].tolist()}
    if code not in used:
        raise DataError(f"code={code} occurs in none of {len(sentences)} sentences; they use {len(used)} of {size}")
    if len(used) == 1:
        raise DataError(f"code={code} is the only one in use, so nothing can take its place")
    places = [(each, where.index(code)) for each in sentences if code in (where := _column(each, codebook))][:most]
    others = [_nearest_used(space, sentence, place, codebook, used) for sentence, place in places]
    prompts = [sentence.prompt_codes_PQ for sentence, _ in places]
    changed = [
        swapped(sentence.latent_TX, place, codebook, other)
        for (sentence, place), other in zip(places, others, strict=True)
    ]
    plain, texts = space.reconstruct([sentence for sentence, _ in places]), space.decode(changed, prompts)
    return [
        CodeSwap(sentence, place, words_of(sentence, cut)[place], other, before, after)
        for (sentence, place), other, before, after in zip(places, others, plain, texts, strict=True)
    ]


def _column(sentence: Sentence, codebook: int) -> list[int]:
    return sentence.latent_TX[:, codebook].tolist()


def _nearest_used(space: LatentSpace, sentence: Sentence, place: int, codebook: int, used: set[int]) -> int:
    quantizer, codes_Q = space.model.quantizer, sentence.latent_TX[place]
    ordered = nearest_codes(quantizer, codes_Q, codebook, num_entries(quantizer, codebook))
    return next(code for code, _ in ordered if code in used)


def _words_by_code(pairs: Sequence[tuple[int, str]]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for code, word in pairs:
        found[code][word] += 1
    return found


def _purity(words: Counter[str]) -> float:
    return max(words.values()) / words.total()
