"""What each edit changed, by the role of the words: whether they differ, and whether they should.

For every factor and role, over the edits whose source has words of that role:

- `changed`: share of edits after which one of them differs from the reconstruction of the source.
- `should`: share of edits in whose answer one of them differs from the source.

The words that an edit replaces have a role to themselves, `edited words`: what has to follow them (an article, the noun
behind `these`) often has their role in the sentence. A corpus without roles has kinds of words instead; those of
mathematics are operators, letters, numbers and brackets.

Words are compared in their order, so a word that moves differs. Words that are put in count for the edited words where
they touch these, and for the word before them elsewhere. Words of a reconstruction have the role of the source's words
in whose place they stand. Where the reconstruction is the source, a right answer adds the same to both shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from difflib import SequenceMatcher

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Edit
from t5vqvae.measures.base import Row
from t5vqvae.measures.control import KINDS, Outcome

EDITED = "edited words"


def changes_by_role(outcomes: Sequence[Outcome], corpus: CorpusConfig) -> list[Row]:
    """Returns a row for every factor and role, local factors first."""
    found: dict[tuple[int, str, bool, str], list[tuple[bool, bool]]] = defaultdict(list)
    for outcome in outcomes:
        edit = outcome.edit
        source, roles = words_and_roles(edit, corpus)
        plain, decoded, answer = (corpus.words(text) for text in (outcome.plain, outcome.decoded, edit.answer))
        changed = changed_roles(plain, carried_roles(source, roles, plain), decoded)
        should = changed_roles(source, roles, answer)
        for role in set(roles):
            found[KINDS.index(edit.kind), edit.factor, role != EDITED, role].append((role in changed, role in should))
    return [
        {
            "factor": factor,
            "kind": KINDS[kind],
            "words": role,
            "changed": sum(changed for changed, _ in pairs) / len(pairs),
            "should": sum(should for _, should in pairs) / len(pairs),
            "edits": len(pairs),
        }
        for (kind, factor, _, role), pairs in sorted(found.items())
    ]


def words_and_roles(edit: Edit, corpus: CorpusConfig) -> tuple[list[str], list[str]]:
    """Returns the words of an edit's source, and the role of each."""
    text, (start, end) = edit.source, edit.source_span
    spans = corpus.word_spans(text)
    words = [text[slice(*span)] for span in spans]
    roles = corpus.roles_of(text) or [_kind(word, corpus) for word in words]
    owned = [EDITED if first < end and last > start else role
             for (first, last), role in zip(spans, roles, strict=True)]  # fmt: skip
    return words, owned


def changed_roles(words: Sequence[str], roles: Sequence[str], others: Sequence[str]) -> set[str]:
    """Returns the roles of which a word differs in another text.

    Args:
        words: The words of a text.
        roles: The role of each.
        others: The words of the other text.
    """
    found: set[str] = set()
    for change, start, end, *_ in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        if change != "equal":
            found |= set(roles[start:end]) or _roles_around(roles, start)
    return found


def carried_roles(words: Sequence[str], roles: Sequence[str], others: Sequence[str]) -> list[str]:
    """Returns the roles of another text's words: each has that of the word in whose place it stands.

    Args:
        words: The words of a text, at least one.
        roles: The role of each.
        others: The words of the other text.
    """
    found: list[str] = []
    for _, start, end, first, behind in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        instead = roles[start:end] or list(_roles_around(roles, start))
        found += [instead[min(place, len(instead) - 1)] for place in range(behind - first)]
    return found


def _roles_around(roles: Sequence[str], place: int) -> set[str]:
    """Returns the role that words get which are put in before a place; none in an empty text."""
    near = roles[max(0, place - 1) : place + 1]
    return {EDITED} if EDITED in near else set(near[:1])


def _kind(word: str, corpus: CorpusConfig) -> str:
    """Returns what kind of word a word is in a corpus without roles."""
    operator = corpus.operator_of(word)
    if operator is None:
        return "other words"
    if operator != "none":
        return "operator"
    return "number" if word.isdigit() else "letter" if word.removeprefix("\\").isalpha() else "bracket"
