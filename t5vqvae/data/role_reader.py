"""The roles of a text's tokens, as the corpus that a model was trained on gives them to its words.

The names of the role numbers lie next to the weights of a model that reads roles, so it answers as it was measured.

Letters: B batch, T positions of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.special_tokens import guard
from t5vqvae.data.texts import Text
from t5vqvae.data.tokenizing import roles_of_tokens
from t5vqvae.errors import DataError
from t5vqvae.files import read_json, write_json

_FILE = "roles.json"


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

    def batch(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> Tensor:
        """Returns the role numbers (B, T) of texts, padded as `t5vqvae.data.texts.tokenized` pads their tokens.

        No corpus tells the roles of pairs of texts: theirs are 0.
        """
        spans = guard(tokenizer)(list(texts), padding=True, return_offsets_mapping=True)["offset_mapping"]
        return torch.tensor(
            [
                self.numbers(text, own) if isinstance(text, str) else [0] * len(own)
                for text, own in zip(texts, spans, strict=True)
            ]
        )

    def require_new_texts(self) -> None:
        """Refuses a corpus that knows the roles of no other sentences.

        Raises:
            DataError: If the model learned roles that a new text cannot be given.
        """
        if len(self.role_names) > 1 and not self.corpus.tells_roles:
            raise DataError(
                f"quantizer.name=role reads roles, and data.corpus.name={self.corpus.name} knows none of a new text, so"
                " the model would answer otherwise than it was measured; take another quantizer"
            )


def write_role_names(model: Path, names: Sequence[str]) -> None:
    """Writes the names of the role numbers next to the weights of a model that reads roles."""
    write_json(model / _FILE, list(names))


def stored_reader(model: Path, corpus: CorpusConfig) -> RoleReader | None:
    """Returns the reader of a model's folder; None where no names lie next to its weights."""
    file = model / _FILE
    return RoleReader(corpus, read_json(file)) if file.is_file() else None
