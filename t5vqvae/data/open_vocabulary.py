r"""Vocabularies without `<unk>` and without a token that training does not show: what is rare is spelt.

A command of the training split that is rare is spelt in letters. Any other rare character is spelt in the bytes of
UTF-8, whose first byte says how many follow, so it is the marker of a rare character. A byte has a token only if some
character needs it: C0, C1 and F5 to FF occur in no text, and the byte of an ASCII character that is a token in none.

A rare `<`, `=` or `>` is spelt in three bytes, as a private character. Its own byte would stand for it alone, and so be
trained only by showing the relation, which a test set may hold out.

What occurs at least `min_count` times in the training split is frequent. Letters and bytes may occur less often there:
`augment.py` adds the rows that train them.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from t5vqvae.data.unigram import learn_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RawTokenizer
    from tokenizers.models import Unigram

OPEN_VERSION = 2
"""Raise it with every change of how open vocabularies are chosen: cached tokenizers are then ignored."""
UPPER_BYTES = (*range(0x80, 0xC0), *range(0xC2, 0xF5))
"""The bytes of characters that are not ASCII."""
BYTE_LIKE = "<(?=0x[0-9A-F]{2}>)"
"""The first character of a text such as `<0x41>`, behind which it is cut, because the byte's token has that name."""
RELATIONS = "<=>"
_PRIVATE = {relation: chr(0xE03C + place) for place, relation in enumerate(RELATIONS)}
"""The private character that stands for a relation."""
_ESCAPE = "\ue07f"
_QUOTED = {own: _ESCAPE + chr(ord(own) + 0x80) for own in (_ESCAPE, *_PRIVATE.values())}
"""What a text's own private characters are written as, so that they come back, too."""
Pieces = Sequence[tuple[str, float]]


def byte_token(byte: int) -> str:
    """Returns the token of a byte, with the name that `tokenizers` looks for."""
    return f"<0x{byte:02X}>"


def byte_tokens(characters: Collection[str], unused: str = "") -> list[str]:
    """Returns the tokens of the bytes that spell all characters but those that are tokens or never occur.

    Args:
        characters: Characters that are tokens.
        unused: ASCII characters that no text has, because the tokenizer replaces them.
    """
    lower = [code for code in range(128) if chr(code) not in characters and chr(code) not in unused]
    return [byte_token(byte) for byte in (*lower, *UPPER_BYTES)]


def rare_relations(texts: Iterable[str], min_count: int) -> str:
    """Returns the relations that occur less than `min_count` times in the texts."""
    counts = Counter(character for text in texts for character in text if character in RELATIONS)
    return "".join(relation for relation in RELATIONS if counts[relation] < min_count)


def _written(rare: str) -> list[tuple[str, str]]:
    """Returns what is written as what, in this order, to spell rare relations; read backwards it restores a text."""
    return [*_QUOTED.items(), *((relation, _PRIVATE[relation]) for relation in rare)]


def without_relations(text: str, rare: str) -> str:
    """Returns a text as the normalizer of `spell_relations` writes it."""
    for plain, written in _written(rare):
        text = text.replace(plain, written)
    return text


def spell_relations(tokenizer: RawTokenizer, rare: str) -> None:
    """Makes a tokenizer spell rare relations as private characters, before its own normalizer and decoder."""
    from tokenizers import decoders, normalizers

    own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    written = _written(rare)
    tokenizer.normalizer = normalizers.Sequence([*(normalizers.Replace(*pair) for pair in written), *own])
    back = (decoders.Replace(coded, plain) for plain, coded in reversed(written))
    tokenizer.decoder = decoders.Sequence([tokenizer.decoder, *back])


def open_latex(tokens: Iterable[str], min_count: int, special: Sequence[str]) -> RawTokenizer:
    r"""Returns a tokenizer of frequent commands and characters, all letters, and bytes.

    Args:
        tokens: The commands and characters of the training texts, with repetitions.
        min_count: Occurrences from which on one is a token.
        special: The special tokens, of which the third stands for unknown ones and never occurs.
    """
    from tokenizers import Tokenizer, decoders, models

    frequent = {token for token, count in Counter(tokens).items() if count >= min_count}
    kept = frequent | set(string.ascii_letters) | {"\\"}
    spelt = byte_tokens(kept, unused=RELATIONS)
    vocabulary = {token: index for index, token in enumerate([*special, *sorted(kept), *spelt])}
    model = models.BPE(
        vocab=vocabulary, merges=[], unk_token=special[2], ignore_merges=True, byte_fallback=True
    )  # without merges, as in `tokenizer.py`
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def open_pieces(words: Counter[str], num_pieces: int, min_count: int) -> list[tuple[str, float]]:
    """Returns pieces of words that all occur at least `min_count` times when the words are cut into them.

    Args:
        words: Number of occurrences of each word, with the mark of its start.
        num_pieces: Largest number of pieces.
        min_count: Smallest number of occurrences of a piece.
    """
    pieces = learn_pieces(words, num_pieces)
    while True:
        used = _uses(pieces, words)
        rare = [piece for piece, _ in pieces if used[piece] < min_count]
        if not rare:
            return pieces
        # The longest first, because what they leave is cut into shorter ones, which are less rare then.
        longest = max(map(len, rare))
        dropped = {piece for piece in rare if len(piece) == longest}
        pieces = [entry for entry in pieces if entry[0] not in dropped]


def _uses(pieces: Pieces, words: Counter[str]) -> Counter[str]:
    """Returns how often each piece occurs when the words are cut into pieces and bytes."""
    from tokenizers import Tokenizer

    model, used = Tokenizer(unigram_model(pieces, ("<unk>",))), Counter[str]()
    for found, count in zip(model.encode_batch(list(words)), words.values(), strict=True):
        for token in found.tokens:
            used[token] += count
    return used


def unigram_model(pieces: Pieces, special: Sequence[str], byte_score: float = -1e4, unused: str = "") -> Unigram:
    """Returns a unigram model of pieces and of the bytes that spell what no piece can; see `byte_tokens`."""
    from tokenizers import models

    characters = {piece for piece, _ in pieces if len(piece) == 1}
    spelt = [(token, byte_score) for token in byte_tokens(characters, unused)]
    entries = [*((token, 0.0) for token in special), *pieces, *spelt]
    return models.Unigram(entries, unk_id=len(special) - 1, byte_fallback=True)
