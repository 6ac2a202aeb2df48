"""The words of `grammar` version 2, with their forms.

Every noun, verb and adjective is written out with all its forms, so regular and irregular ones read alike. Within one
kind no two words share a form: a form names its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Form = Literal["base", "third", "past", "participle", "singular", "plural"]

_VERBS = {
    "eat": """
        take takes took taken / find finds found found / choose chooses chose chosen / steal steals stole stolen
        eat eats ate eaten / catch catches caught caught""",
    "rest": """
        sleep sleeps slept slept / rest rests rested rested / swim swims swam swum / hide hides hid hidden
        sing sings sang sung / wait waits waited waited""",
    "give": """
        give gives gave given / offer offers offered offered / bring brings brought brought / send sends sent sent""",
    "move": """
        move moves moved moved / break breaks broke broken / shake shakes shook shaken / lift lifts lifted lifted
        turn turns turned turned""",
    "measure": """
        measure measures measured measured / show shows showed shown / track tracks tracked tracked
        record records recorded recorded""",
    "use": """
        use uses used used / need needs needed needed / keep keeps kept kept / raise raises raised raised
        lose loses lost lost""",
}
_NOUNS = {
    "animal": """
        ant ants / ape apes / bat bats / beaver beavers / butterfly butterflies / deer_mouse deer_mice / eagle eagles
        elephant elephants / fox foxes / goose geese / insect insects / mouse mice / otter otters / owl owls
        rabbit rabbits / wolf wolves""",
    "plant": """
        bush bushes / cactus cacti / elm elms / fern ferns / flower flowers / iris irises / oak oaks / orchid orchids
        tree trees / vine vines""",
    "tool": """
        arm arms / axe axes / crane cranes / engine engines / magnet magnets / motor motors / spring springs
        elevator elevators / wheel wheels / winch winches""",
    "meter": """
        altimeter altimeters / ammeter ammeters / camera cameras / gauge gauges / instrument instruments
        scale scales / odometer odometers / sensor sensors""",
    "part": """
        ear ears / eye eyes / foot feet / leg legs / mouth mouths / nose noses / tail tails / tooth teeth""",
}
_PLAIN = {
    "size": """
        ancient / big / dark / enormous / grey / heavy / huge / immense / large / odd / old / orange / small / tall
        tiny / ugly""",
    "food": "algae / berries / eggs / fruit / grass / honey / leaves / meat / nectar / nuts / roots / seeds",
    "object": "apple / bolt / box / egg / iron_bar / nail / oar / rock / stone / umbrella",
    "matter": "air / clay / ice / iron / milk / oil / salt / sand / steel / water",
    "class": "animal / creature / food / hunter / mammal / mystery / neighbour / predator / puzzle / traveller",
    "place": "attic / cave / desert / field / forest / lake / nest / oasis / ocean / orchard / pond / river",
    "quantity": "age / colour / depth / energy / mass / speed / temperature / weight",
    "purpose": "balance / comfort / defence / growth / hunting / safety / travel / warmth",
    "manner": "again / carefully / easily / quickly / quietly / slowly / suddenly / together",
    "time": "at_dawn / at_night / at_noon / before_rain / in_autumn / in_spring / in_summer / in_winter",
}
PLURALS = frozenset({"algae", "berries", "eggs", "leaves", "nuts", "roots", "seeds"})
"""The foods that take a verb in the plural: leaves are eaten, honey is eaten."""

_FORMS: Mapping[str, tuple[Form, ...]] = {
    **dict.fromkeys(_VERBS, ("base", "third", "past", "participle")),
    **dict.fromkeys(_NOUNS, ("singular", "plural")),
    **dict.fromkeys(_PLAIN, ("base",)),
}


def _entries(text: str) -> list[list[str]]:
    """Returns the forms of every word; a slash or a line's end separates words, an underscore stands for a space."""
    parts = text.strip().replace("\n", "/").split("/")
    return [[form.replace("_", " ") for form in part.split()] for part in parts if part.strip()]


WORDS: Mapping[str, Mapping[str, Mapping[Form, str]]] = {
    kind: {forms[0]: dict(zip(_FORMS[kind], forms, strict=True)) for forms in _entries(text)}
    for kind, text in {**_VERBS, **_NOUNS, **_PLAIN}.items()
}
"""The forms of every word, by kind and by the word's first form."""

KNOWN: Mapping[str, Mapping[str, str]] = {
    kind: {form: word for word, forms in words.items() for form in forms.values()} for kind, words in WORDS.items()
}
"""The word of every form, by kind."""


def article(word: str) -> str:
    """Returns the indefinite article in front of a word; the lexicon has no word whose first letter misleads."""
    return "an" if word[0] in "aeiou" else "a"
