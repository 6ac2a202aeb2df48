"""Edits codes: the codes of some words of one sentence replace those of some words of another one.

A model with one latent a token (codes, or vectors where there are none) has the span's latents replaced. Lengths may
differ, and prompts stay the edited sentence's. A token belongs to a span when they share a character, so no word of a
span keeps a part of its old code. A model with one latent a sentence is edited by z_source + z_donor - z_contrast,
where donor and contrast are a minimal pair.

Letters: B batch, T positions of a sentence, M of the edited one, E model width, P prompts, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.corpora.edits import Edit, Span
from t5vqvae.data.special_tokens import guard
from t5vqvae.errors import DataError
from t5vqvae.models.contract import Memory, TextAutoencoder
from t5vqvae.models.t5 import T5VQVAE

Latents = list[Tensor]
"""One tensor a sentence, of shape (T, E)."""


@dataclass(frozen=True)
class Encoded:
    """Sentences as a model's decoder may read them.

    Attributes:
        latents: The latent of every token, or one of the sentence; shape (T, E) or (1, E).
        spans: Start and end of every token in its text, in characters; empty for special tokens.
        by_token: Whether there is a latent for every token.
        batch: The tokenized sentences.
        memory: The model's memory of them.
    """

    latents: Latents
    spans: list[list[Span]]
    by_token: bool
    batch: Batch
    memory: Memory


@torch.no_grad()
def encode_latents(model: TextAutoencoder, texts: Sequence[str], unsent: float | None = None) -> Encoded:
    """Encodes sentences, and keeps the place of every token in its text.

    Args:
        model: A model with its tokenizer.
        texts: Sentences.
        unsent: As for `T5VQVAE.encode`: the latents of codes that are left out are the entry "not sent".

    Raises:
        DataError: If the model's memory is not made of its latents position by position.
    """
    tokens = guard(model.require_tokenizer())(
        list(texts), padding=True, return_tensors="pt", return_offsets_mapping=True
    )
    ids_BT, mask_BT = tokens["input_ids"], tokens["attention_mask"].bool()
    labels_BS = ids_BT.masked_fill(~mask_BT, IGNORED_LABEL)
    batch = Batch(ids_BT, mask_BT, labels_BS, None, mask_BT.sum(-1)).to(next(model.parameters()).device)
    memory = model.encode_memory(batch)
    latents_BTE = memory.bottleneck.quantized_BTE if isinstance(model, T5VQVAE) else memory.states_BME
    if unsent is not None and isinstance(model, T5VQVAE) and model.encoder.not_sent is not None:
        latents_BTE = model.encoder.not_sent.put(latents_BTE, model.left_out(batch, memory, unsent))
    by_token = memory.mask_BM.shape[1] >= mask_BT.shape[1] and latents_BTE.shape[1] == mask_BT.shape[1]
    if not by_token:
        latents_BTE = memory.states_BME
        if latents_BTE.shape[1] != 1:
            raise DataError(
                f"a memory of {latents_BTE.shape[1]} latents a sentence cannot be edited; use another model"
            )
    lengths = mask_BT.sum(-1).tolist() if by_token else [1] * len(texts)
    latents = [latents_TE[:length] for latents_TE, length in zip(latents_BTE, lengths, strict=True)]
    spans = [list(map(tuple, row)) for row in tokens["offset_mapping"].tolist()]
    return Encoded(latents, spans, by_token, batch, memory)


def tokens_of(spans: Sequence[Span], words: Span) -> tuple[int, int]:
    """Returns the first token that shares a character with some words, and the one after the last.

    Raises:
        DataError: If no token does.
    """
    inside = [place for place, (start, end) in enumerate(spans) if max(start, words[0]) < min(end, words[1])]
    if not inside:
        raise DataError(f"no token lies in the characters {words[0]} to {words[1]}")
    return inside[0], inside[-1] + 1


def spliced(source_TE: Tensor, span: tuple[int, int], donor_TE: Tensor, donor_span: tuple[int, int]) -> Tensor:
    """Returns the source with the positions of a span replaced by those of the donor's; shape (M, E)."""
    return torch.cat([source_TE[: span[0]], donor_TE[donor_span[0] : donor_span[1]], source_TE[span[1] :]])


@torch.no_grad()
def decode_latents(model: TextAutoencoder, encoded: Encoded, latents: Latents, max_new_tokens: int) -> list[str]:
    """Decodes changed latents of encoded sentences, greedily; prompts stay as they were encoded."""
    mask_BM = pad_sequence([torch.ones(len(each), dtype=torch.bool) for each in latents], batch_first=True)
    mask_BM = mask_BM.to(encoded.batch.mask_BT.device)
    latents_BME = pad_sequence(latents, batch_first=True)
    if isinstance(model, T5VQVAE) and encoded.by_token:
        prompts = encoded.memory.prompt_codes_BPQ
        return model.decode_states(latents_BME, mask_BM, max_new_tokens, prompt_codes_BPQ=prompts)
    memory = replace(encoded.memory, states_BME=latents_BME, mask_BM=mask_BM)
    ids_BS = model.greedy(encoded.batch, max_new_tokens, memory=memory)
    return model.require_tokenizer().batch_decode(ids_BS, skip_special_tokens=True)


def apply_edits(
    model: TextAutoencoder, edits: Sequence[Edit], max_new_tokens: int, unsent: float | None = None
) -> list[str]:
    """Returns the text that a model decodes after each edit of a batch.

    With `unsent`, the source's codes are sparse. Those of the edited words are sent all the same: they are the edit.
    """
    encoded = encode_latents(model, [edit.source for edit in edits], unsent)
    donors = encode_latents(model, [edit.donor for edit in edits])
    if encoded.by_token:
        latents = [
            spliced(
                encoded.latents[row],
                tokens_of(encoded.spans[row], edit.source_span),
                donors.latents[row],
                tokens_of(donors.spans[row], edit.donor_span),
            )
            for row, edit in enumerate(edits)
        ]
    else:
        contrasts = encode_latents(model, [edit.contrast for edit in edits])
        rows = zip(encoded.latents, donors.latents, contrasts.latents, strict=True)
        latents = [source_1E + donor_1E - contrast_1E for source_1E, donor_1E, contrast_1E in rows]
    return decode_latents(model, encoded, latents, max_new_tokens)
