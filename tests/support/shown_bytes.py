"""Which bytes training rows show in which places of a character: an open vocabulary must read each in every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from t5vqvae.data.rare_symbols import FOLLOWING, LEADS


def fewest_in_a_place(texts: Iterable[str]) -> int:
    """Returns how often the rarest byte occurs in a place of a character outside ASCII, by that character's length."""
    coded = (character.encode() for text in texts if not text.isascii() for character in text)
    places = Counter((len(each), place, byte) for each in coded if len(each) > 1 for place, byte in enumerate(each))
    wanted = [(length, 0, byte) for length, leads in LEADS.items() for byte in leads]
    wanted += [(length, place, byte) for length in LEADS for place in range(1, length) for byte in FOLLOWING]
    return min(places[each] for each in wanted)
