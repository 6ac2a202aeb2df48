"""The pages of codes: where each code stands in training sentences, how often, and how pure it is.

The sentences are encoded once a model, in small batches between those of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from typing_extensions import TypedDict

from t5vqvae.data.corpora.edits import Span
from t5vqvae.errors import DataError
from t5vqvae.latent.code_use import CodeUse, use_of_codes
from t5vqvae.latent.code_vectors import num_entries
from t5vqvae.latent.sentence import Sentence
from t5vqvae.latent.traversal import refuse_codebook
from t5vqvae.serving.served_model import ServedModel

AT_ONCE = 32
"""Sentences that are encoded between two batches of requests."""
CONTEXTS, WORDS = 20, 10

Encoding = Callable[[ServedModel, Sequence[str]], Awaitable[list[Sentence]]]


class Use(TypedDict):
    """The use of a code: its purity is the share of its most frequent word, `shuffled` what chance gives."""

    code: int
    count: int
    purity: float | None
    shuffled: float | None
    words: list[tuple[str, int]]


class Context(TypedDict):
    """A sentence with a code: where the code stands, by positions and by first and last character of its tokens."""

    text: str
    positions: list[int]
    spans: list[tuple[int, int]]


class CodeList(TypedDict):
    """The codes in use, the most frequent first, and the model that has them."""

    model: dict[str, str]
    sentences: int
    entries: int
    codes: list[Use]


class CodePage(TypedDict):
    """One code: its use, and contexts."""

    model: dict[str, str]
    sentences: int
    entries: int
    use: Use
    contexts: list[Context]


@dataclass(frozen=True)
class _Counted:
    sentences: list[Sentence]
    uses: dict[int, CodeUse]


class CodePages:
    """Counts codes of served models and keeps the counts.

    Args:
        encode: Encodes a few sentences with a model.
        most: Most sentences that it takes.
    """

    def __init__(self, encode: Encoding, most: int) -> None:
        self._encode, self._at_once = encode, min(AT_ONCE, most)
        self._lock = asyncio.Lock()
        self._sentences: WeakKeyDictionary[ServedModel, list[Sentence]] = WeakKeyDictionary()
        self._counted: WeakKeyDictionary[ServedModel, dict[int, _Counted]] = WeakKeyDictionary()

    async def all(self, model: ServedModel, codebook: int) -> CodeList:
        """Returns the use of every code that occurs."""
        counted = await self._of(model, codebook)
        return {
            "model": model.label,
            "sentences": len(counted.sentences),
            "entries": num_entries(model.space.model.quantizer, codebook),
            "codes": [_use(each.code, each) for each in counted.uses.values()],
        }

    async def one(self, model: ServedModel, code: int, codebook: int) -> CodePage:
        """Returns the page of a code; one that does not occur has no contexts.

        Raises:
            DataError: If it is no code of the codebook.
        """
        counted = await self._of(model, codebook)
        entries = num_entries(model.space.model.quantizer, codebook)
        if not 0 <= code < entries:
            raise DataError(f"code={code} must lie between 0 and {entries - 1}: the codebook has {entries} entries")
        return {
            "model": model.label,
            "sentences": len(counted.sentences),
            "entries": entries,
            "use": _use(code, counted.uses.get(code)),
            "contexts": _contexts(counted.sentences, code, codebook),
        }

    async def _of(self, model: ServedModel, codebook: int) -> _Counted:
        model.space.require_codes("a page of codes")
        refuse_codebook(model.space, codebook)
        async with self._lock:
            if model not in self._sentences:
                self._sentences[model] = await self._encoded(model)
            known = self._counted.setdefault(model, {})
            if codebook not in known:
                sentences = self._sentences[model]
                uses = await asyncio.to_thread(use_of_codes, sentences, codebook, model.cut)
                known[codebook] = _Counted(sentences, {use.code: use for use in uses})
            return known[codebook]

    async def _encoded(self, model: ServedModel) -> list[Sentence]:
        texts = await asyncio.to_thread(model.sentences)
        found: list[Sentence] = []
        for start in range(0, len(texts), self._at_once):
            found += await self._encode(model, texts[start : start + self._at_once])
        return found


def _use(code: int, found: CodeUse | None) -> Use:
    if found is None:
        return {"code": code, "count": 0, "purity": None, "shuffled": None, "words": []}
    return {
        "code": code,
        "count": found.count,
        "purity": found.purity,
        "shuffled": found.shuffled_purity,
        "words": list(found.words[:WORDS]),
    }


def _contexts(sentences: Sequence[Sentence], code: int, codebook: int) -> list[Context]:
    found: list[Context] = []
    for sentence in sentences:
        column = sentence.latent_TX[:, codebook].tolist()
        if code in column:
            places = [place for place, each in enumerate(column) if each == code]
            spans = [_trimmed(sentence.text, sentence.spans[place]) for place in places] if sentence.by_token else []
            found.append({"text": sentence.text, "positions": places, "spans": spans})
        if len(found) == CONTEXTS:
            break
    return found


def _trimmed(text: str, span: Span) -> Span:
    """Returns a token's span without the space that some tokenizers count in front of it."""
    start, end = span
    return end - len(text[start:end].lstrip()), end
