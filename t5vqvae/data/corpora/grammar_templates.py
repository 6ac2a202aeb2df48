"""The kinds of sentence of `grammar` version 2, as patterns of phrases.

A pattern is a list of (role, phrase). In a phrase, `<kind>` stands for the role's filler. `NP<kind>` is a noun phrase
with a determiner and a number, `VP<kind>` a verb with its auxiliaries (`VP`: the verb "be"), `AGAIN<kind>` a verb that
shares them, `FINITE<kind>` a verb that agrees and is never negated. `a/an`, `some/any`, `and/or`, `too/either`,
`it/they`, `its/their` follow other parts of the sentence. To add a kind of sentence, add a pattern to `TEMPLATES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

Pattern = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Template:
    """A kind of sentence: its pattern, and the one of its passive if it has one."""

    active: Pattern
    passive: Pattern = ()

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of word of every role with a filler; every sentence may also have a `size`."""
        found = ((role, re.search(r"<(\w+)>", phrase)) for role, phrase in self.active)
        return {role: match[1] for role, match in found if match} | {"size": "size"}


TEMPLATES: Mapping[str, Template] = {
    "forage": Template(
        active=(
            ("ARG0", "NP<animal>"),
            ("V", "VP<eat>"),
            ("ARG1", "<food>"),
            ("V2", "and/or AGAIN<rest>"),
            ("ARGM-LOC", "in a/an <place>"),
        ),
    ),
    "when": Template(
        active=(
            ("ARG0", "NP<animal>"),
            ("V", "VP<rest>"),
            ("V2", "when it/they FINITE<eat>"),
            ("ARG1", "<food>"),
            ("ARGM-TMP", "<time>"),
        ),
    ),
    "eat": Template(
        active=(
            ("ARG0", "NP<animal>"),
            ("V", "VP<eat>"),
            ("ARG1", "<food>"),
            ("ARGM-TMP", "<time>"),
            ("ARGM-ADV", "too/either"),
        ),
        passive=(
            ("ARG1", "<food>"),
            ("V", "VP<eat>"),
            ("ARG0", "by NP<animal>"),
            ("ARGM-TMP", "<time>"),
            ("ARGM-ADV", "too/either"),
        ),
    ),
    "seek": Template(
        active=(
            ("ARG0", "NP<animal>"),
            ("V", "VP<eat>"),
            ("ARG1", "some/any <food>"),
            ("ARGM-LOC", "in a/an <place>"),
            ("ARGM-TMP", "<time>"),
        ),
    ),
    "give": Template(
        active=(
            ("ARG0", "NP<plant>"),
            ("V", "VP<give>"),
            ("ARG1", "<food>"),
            ("ARG2", "to a/an <animal>"),
            ("ARGM-TMP", "<time>"),
        ),
        passive=(
            ("ARG1", "<food>"),
            ("V", "VP<give>"),
            ("ARG2", "to a/an <animal>"),
            ("ARG0", "by NP<plant>"),
            ("ARGM-TMP", "<time>"),
        ),
    ),
    "move": Template(
        active=(("ARG0", "NP<tool>"), ("V", "VP<move>"), ("ARG1", "a/an <object>"), ("ARGM-MNR", "<manner>")),
        passive=(("ARG1", "a/an <object>"), ("V", "VP<move>"), ("ARG0", "by NP<tool>"), ("ARGM-MNR", "<manner>")),
    ),
    "measure": Template(
        active=(
            ("ARG0", "NP<meter>"),
            ("V", "VP<measure>"),
            ("ARG1", "the <quantity>"),
            ("ARG2", "of <matter>"),
            ("ARGM-LOC", "in a/an <place>"),
        ),
        passive=(
            ("ARG1", "the <quantity>"),
            ("ARG2", "of <matter>"),
            ("V", "VP<measure>"),
            ("ARG0", "by NP<meter>"),
            ("ARGM-LOC", "in a/an <place>"),
        ),
    ),
    "use": Template(
        active=(
            ("ARG0", "NP<animal>"),
            ("V", "VP<use>"),
            ("ARG1", "its/their <part>"),
            ("ARGM-PRP", "for <purpose>"),
            ("ARGM-TMP", "<time>"),
        ),
    ),
    "kind": Template(active=(("ARG1", "NP<animal>"), ("V", "VP"), ("ARG2", "a kind of <class>"))),
}
