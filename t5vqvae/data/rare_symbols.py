"""Draws symbols that are rare in a training split, all tokens that spell them equally often."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from t5vqvae.data.open_vocabulary import byte_token
from t5vqvae.errors import SettingError

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

LEADS = {2: range(0xC2, 0xE0), 3: range(0xE0, 0xF0), 4: range(0xF0, 0xF5)}
"""The first byte of a character of UTF-8, by its number of bytes."""
FOLLOWING = range(0x80, 0xC0)
_TRIES = 30
LAST = "\U0010fffd"
"""A character that no training split has: a tokenizer that spells it spells all."""


class _Deck:
    """Deals values in random order, each once before any comes again."""

    def __init__(self, values: Sequence[int], rng: random.Random) -> None:
        self._values, self._rng, self._left = list(values), rng, list[int]()

    def deal(self) -> int:
        if not self._left:
            self._left = self._rng.sample(self._values, len(self._values))
        return self._left.pop()

    def back(self, value: int) -> None:
        """Takes a value back that could not be used, to be dealt later."""
        self._left.insert(self._rng.randrange(len(self._left) + 1), value)


class RareSymbols:
    """Draws rare symbols of ASCII and, where a tokenizer spells them, characters of all of Unicode.

    Bytes are dealt from decks, one for every place in a character of every length, so that a few thousand symbols show
    each byte in each place about equally often.
    """

    def __init__(self, ascii_symbols: str, has_characters: bool, held_out: Collection[str], rng: random.Random) -> None:
        self.has_characters = has_characters
        self.joined_ascii = ""
        """Those of ASCII that are one token with the space before them, so that only their second one is a byte."""
        self._held_out, self._rng = frozenset(held_out), rng
        self._ascii = _Deck([ord(symbol) for symbol in ascii_symbols], rng)
        self._leads = {length: _Deck(values, rng) for length, values in LEADS.items()}
        self._following = {(length, n): _Deck(FOLLOWING, rng) for length in LEADS for n in range(1, length)}
        # As many draws for each byte in its place: a place has 64 values, ASCII as many as are rare.
        weights = ([len(ascii_symbols)] if ascii_symbols else []) + ([len(FOLLOWING)] * len(LEADS))
        kinds = ([1] if ascii_symbols else []) + list(LEADS)
        self._kinds = [k for k, w in zip(kinds, weights, strict=True) for _ in range(w) if has_characters or k == 1]

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, texts: Sequence[str], held_out: Collection[str], rng: random.Random
    ) -> RareSymbols:
        """Returns the symbols that a tokenizer spells in bytes or, of ASCII, that the training texts lack.

        Args:
            tokenizer: The tokenizer.
            texts: The training texts.
            held_out: Symbols that are never drawn.
            rng: Decides what is drawn.
        """
        vocabulary, seen = tokenizer.get_vocab(), set().union(*map(set, texts))
        is_open = byte_token(0xC2) in vocabulary and byte_token(0xC0) not in vocabulary
        rare = "".join(
            symbol
            for symbol in map(chr, range(128))
            if symbol not in held_out
            and (byte_token(ord(symbol)) in vocabulary if is_open else symbol in vocabulary and symbol not in seen)
        )
        spells_all = tokenizer.unk_token_id not in tokenizer(LAST).input_ids
        found = cls(rare if is_open else _punctuation(rare), spells_all, held_out, rng)
        found.joined_ascii = "".join(symbol for symbol in rare if f"\u2581{symbol}" in vocabulary)
        return found

    def draw(self) -> str:
        """Returns a rare symbol.

        Raises:
            SettingError: If there is none.
        """
        if not self._kinds:
            raise SettingError(
                "data.augment.join puts symbols that the training rows lack between two rows, and they have every one"
                " that the tokenizer has a token for; set data.tokenizer.open_vocabulary=true, or data.augment.join=0"
            )
        kind = self._rng.choice(self._kinds)
        if kind != 1:
            return self._character(kind)
        symbol = chr(self._ascii.deal())
        return symbol * 2 if symbol in self.joined_ascii else symbol

    def draw_character(self) -> str:
        """Returns a rare character outside ASCII."""
        return self._character(self._rng.choice(list(LEADS)))

    def _character(self, length: int) -> str:
        """Returns a usable character with so many bytes; bytes that do not fit go back into their deck."""
        lead, decks = self._leads[length].deal(), [self._following[length, n] for n in range(1, length)]
        for _ in range(_TRIES):
            dealt = [deck.deal() for deck in decks]
            if self._is_usable(found := _decoded([lead, *dealt])):
                return found
            for deck, value in zip(decks, dealt, strict=True):
                deck.back(value)
        while True:  # what is left in the decks may never fit
            lead = self._rng.choice(LEADS[length])
            found = _decoded([lead, *self._rng.choices(FOLLOWING, k=length - 1)])
            if self._is_usable(found):
                return found

    def _is_usable(self, character: str) -> bool:
        return not (character in self._held_out or character.isspace() or character in ("\u2581", ""))


def _decoded(values: Sequence[int]) -> str:
    """Returns a character by its bytes; an empty text where there is none."""
    try:
        return bytes(values).decode()
    except UnicodeDecodeError:  # overlong, half a pair, or beyond the last character
        return ""


def _punctuation(symbols: str) -> str:
    return "".join(symbol for symbol in symbols if symbol.isprintable() and not symbol.isalnum() and symbol != " ")
