"""The roles of a text's tokens, as the corpus that a model was trained on gives them to its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.prepare import roles_of_tokens


@dataclass(frozen=True)
class RoleReader:
    """Reads the roles of texts that are in no split: edited ones, and whatever a user gives.

    Attributes:
        corpus: The corpus.
        role_names: Names of the role numbers, as training had them; the first is "none".
    """

    corpus: CorpusConfig
    role_names: Sequence[str]

    def numbers(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Returns the role number of every token; 0 for all where the corpus does not know a text's roles."""
        roles = self.corpus.roles_of(text)
        if roles is None:
            return [0] * len(spans)
        # A role that no sentence of the splits has was never learned.
        ids = {role: number for number, role in enumerate(self.role_names)}
        return roles_of_tokens(text, roles, spans, {role: ids.get(role, 0) for role in roles})
