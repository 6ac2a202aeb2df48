"""Edits with known answers: the codes of some words of one sentence replace those of some words of another one.

Lengths may differ, and prompts stay the edited sentence's. A token belongs to a span when they share a character, so no
word of a span keeps a part of its old code. A model with one latent a sentence is edited by z_source + z_donor -
z_contrast, where donor and contrast are a minimal pair.

Letters: T positions of a sentence, M of the edited one, X what a position has (codes, or a vector).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from t5vqvae.data.corpora.edits import Edit, places_of
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence, tokens_of


def spliced(source_TX: Tensor, span: tuple[int, int], donor_TX: Tensor, donor_span: tuple[int, int]) -> Tensor:
    """Returns the source with the positions of a span replaced by those of the donor's; shape (M, X)."""
    return torch.cat([source_TX[: span[0]], donor_TX[donor_span[0] : donor_span[1]], source_TX[span[1] :]])


def apply_edits(
    space: LatentSpace,
    edits: Sequence[Edit],
    encoded: Mapping[str, Sentence],
    sources: Sequence[Sentence] | None = None,
) -> list[str]:
    """Returns the text that a model decodes after each edit.

    Args:
        space: The model.
        edits: The edits.
        encoded: Every donor by its text, and every source if `sources` is None.
        sources: The encoded source of each edit, such as those of `sparse_sources`. None: all of its codes.
    """
    if sources is None:
        sources = [encoded[edit.source] for edit in edits]
    if sources and not sources[0].by_token:
        contrasts = space.encode([edit.contrast for edit in edits])
        rows = zip(sources, edits, contrasts, strict=True)
        latents = [each.latent_TX + encoded[edit.donor].latent_TX - other.latent_TX for each, edit, other in rows]
    else:
        latents = [_edited(each, encoded[edit.donor], edit) for each, edit in zip(sources, edits, strict=True)]
    return space.decode(latents, [each.prompt_codes_PQ for each in sources])


def sparse_sources(space: LatentSpace, edits: Sequence[Edit], unsent: float) -> list[Sentence]:
    """Returns the source of each edit in sparse codes, see `LatentSpace.encode`.

    The edited words are sent in any case, before the edit and after it: so what agrees with them may stay out, and not
    they themselves.
    """
    return space.encode([edit.source for edit in edits], unsent, [edit.source_span for edit in edits])


def from_answers(edits: Sequence[Edit]) -> list[Edit]:
    """Returns edits with their answers for donors: what copying the right codes gives, which is a ceiling.

    Left out are those whose words the answer has twice, or not in one piece.
    """
    found = []
    for edit in edits:
        places = places_of(edit.donor[slice(*edit.donor_span)], edit.answer)
        if len(places) == 1:
            found.append(replace(edit, donor=edit.answer, contrast=edit.source, donor_span=places[0]))
    return found


def _edited(source: Sentence, donor: Sentence, edit: Edit) -> Tensor:
    span, donor_span = tokens_of(source.spans, edit.source_span), tokens_of(donor.spans, edit.donor_span)
    return spliced(source.latent_TX, span, donor.latent_TX, donor_span)
