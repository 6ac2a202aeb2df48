"""The latents of sentences: what a trained model keeps of a text, and the texts that changed latents decode to.

Every operation of this folder is a function of a `LatentSpace`: it encodes texts, changes codes (or vectors, where a
model has no codes), and decodes them. Prompts of a changed sentence are those of the sentence that it came from.

Letters: B batch, T positions of a sentence, M positions of the memory, X what a position has (Q codes, or a vector of
E numbers), E model width, Q codes a position, P prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.corpora.columns import refuse_half_characters
from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.role_reader import RoleReader
from t5vqvae.errors import DataError
from t5vqvae.latent.own_codes import knows_not_sent, refuse_other_codes
from t5vqvae.latent.sentence import Sentence, tokens_of
from t5vqvae.latent.two_texts import as_trained, tokens_and_spans
from t5vqvae.models.baselines.cross_layer import CrossLayer
from t5vqvae.models.baselines.gaussian import GaussianT5
from t5vqvae.models.baselines.gaussian_latent import GaussianLatent
from t5vqvae.models.codes import refuse_no_codes
from t5vqvae.models.contract import Memory, TextAutoencoder, reconstruct
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.quantizers import QuantizerOutput
from t5vqvae.stages import stage

PADDING = -1
"""The code at padding."""
LONGEST = 64
"""Tokens after which decoding stops where nothing says how long the texts of a model are."""


class LatentSpace:
    """Encodes texts and decodes latents with one trained model, which it puts into evaluation mode.

    Attributes:
        model: Any text autoencoder with its tokenizer.
        max_new_tokens: Tokens after which decoding stops.
        batch_size: Sentences that are encoded or decoded together.
        roles: Reads the roles of texts, for a quantizer that was trained with them. None: no position has a role.
        pairs: Whether it was trained on sources of two texts, so that `A </s> B` is encoded as two texts.
    """

    def __init__(
        self,
        model: TextAutoencoder,
        max_new_tokens: int = LONGEST,
        batch_size: int = 64,
        roles: RoleReader | None = None,
        pairs: bool = False,
    ) -> None:
        """Takes a model.

        Raises:
            DataError: If its decoder reads more than latents, so that changed latents do not decide the text.
        """
        if model.leaks:
            raise DataError(
                "the decoder reads more than the latents (continuous prompts, or model.memory=states);"
                " take a model without these settings"
            )
        self.model = model.eval() if model.training else model
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.roles = roles if self.model.quantizer.reads_roles else None
        self.pairs = pairs

    def stopping_after(self, max_new_tokens: int | None) -> LatentSpace:
        """Returns the same model, whose decoding stops after so many tokens; None: as it does now."""
        return LatentSpace(self.model, max_new_tokens or self.max_new_tokens, self.batch_size, self.roles, self.pairs)

    @property
    def bottleneck(self) -> str:
        """The name of the bottleneck in errors."""
        quantizer: Any = self.model.quantizer
        if isinstance(quantizer, GaussianLatent):
            return "a Gaussian latent"
        return f"quantizer {quantizer.config.name if quantizer.discrete else 'none'}"

    def require_codes(self, operation: str) -> None:
        """Refuses a model without codes.

        Raises:
            DataError: With the operation that needs them.
        """
        if not self.model.has_codes:
            raise DataError(f"{self.bottleneck} has no codes; {operation} needs them: take a model with a codebook")

    @torch.no_grad()
    def encode(
        self, texts: Sequence[str], unsent: float | None = None, kept: Sequence[Span] | None = None
    ) -> list[Sentence]:
        """Encodes texts, in batches of similar length.

        Args:
            texts: The texts; a source of two texts is `A </s> B`, see `pairs`.
            unsent: As for `T5VQVAE.encode`: codes that the decoder can do without are `NOT_SENT`. None: all are sent.
            kept: Words of each text, in characters, whose codes are sent in any case. None: no such words.

        Raises:
            DataError: If a text is empty, the model's memory is not made of its latents position by position, or it
                was trained without code dropout and codes are to be left out.
        """
        if unsent is not None and not knows_not_sent(self.model):
            raise DataError(
                f"unsent={unsent:g}: the model was trained without code dropout; train one with train.code_dropout=0.6"
            )
        for place, text in enumerate(map(refuse_half_characters, texts)):
            if not text.strip():
                raise DataError(f"text {place + 1} of {len(texts)} is empty; give a sentence of at least one word")
        found: dict[int, Sentence] = {}
        with stage("encoding", len(texts), "sentences") as now:
            for rows in self._batches([len(text) for text in texts]):
                words = None if kept is None else [kept[row] for row in rows]
                found |= dict(zip(rows, self._encode([texts[row] for row in rows], unsent, words), strict=True))
                now.advance(len(rows))
        return [found[row] for row in range(len(texts))]

    @torch.no_grad()
    def quantize(self, states: Sequence[Tensor], roles: Sequence[Tensor | None] | None = None) -> list[Tensor]:
        """Returns the codes, shape (T, Q), of states before the quantizer, each of shape (T, E).

        Args:
            states: The states of each sentence.
            roles: The role number of every position (T) of each; None: no position has a role.
        """
        self.require_codes("quantizing states")
        found: dict[int, Tensor] = {}
        for rows in self._batches([len(each) for each in states]):
            states_BTE, mask_BT = _padded([states[row] for row in rows], 0.0)
            known = [] if roles is None else [each for each in (roles[row] for row in rows) if each is not None]
            roles_BT = _padded(known, 0)[0] if len(known) == len(rows) else None
            codes_BTQ = self.model.quantizer(states_BTE, mask_BT, roles_BT).codes_BTQ
            assert codes_BTQ is not None
            found |= {row: codes_BTQ[place, : len(states[row])] for place, row in enumerate(rows)}
        return [found[row] for row in range(len(states))]

    @torch.no_grad()
    def decode(self, latents: Sequence[Tensor], prompts: Sequence[Tensor | None] | None = None) -> list[str]:
        """Decodes latents greedily, in batches of similar length.

        Args:
            latents: The codes (T, Q) of each sentence, or its vectors (T, E) where the model has no codes.
            prompts: The prompt codes (P, 1) of each sentence; None: there are no prompts.

        Raises:
            DataError: If they are no codes of this model, a sentence has none, or prompt codes are missing.
        """
        prompts = [None] * len(latents) if prompts is None else prompts
        found: dict[int, str] = {}
        with stage("decoding", len(latents), "sentences") as now:
            for rows in self._batches([len(each) for each in latents]):
                texts = self._decode([latents[row] for row in rows], [prompts[row] for row in rows])
                found |= dict(zip(rows, texts, strict=True))
                now.advance(len(rows))
        return [found[row] for row in range(len(latents))]

    def decode_states(
        self,
        states: Sequence[Tensor],
        prompts: Sequence[Tensor | None],
        roles: Sequence[Tensor | None] | None = None,
    ) -> tuple[list[Tensor], list[str]]:
        """Quantizes states where the model has codes; returns the latents and the texts that they decode to."""
        latents = self.quantize(states, roles) if self.model.has_codes else list(states)
        return latents, self.decode(latents, prompts)

    def reconstruct(self, sentences: Sequence[Sentence]) -> list[str]:
        """Decodes sentences as they were encoded."""
        return self.decode([each.latent_TX for each in sentences], [each.prompt_codes_PQ for each in sentences])

    def reconstruct_texts(self, texts: Sequence[str]) -> list[tuple[str, list[list[int]] | None]]:
        """Returns what texts decode to, and their codes as plain values; None for a model without codes.

        Encoding and decoding in one: blocks of an encoder behind the quantizer run once, not twice.
        """
        found: dict[int, tuple[str, list[list[int]] | None]] = {}
        for rows in self._batches([len(text) for text in texts]):
            given = as_trained([texts[row] for row in rows], self.pairs)
            decoded, codes = reconstruct(self.model, given, self.max_new_tokens, self.roles)
            of_each: Sequence[list[list[int]] | None] = [None] * len(rows) if codes is None else codes
            found |= dict(zip(rows, zip(decoded, of_each, strict=True), strict=True))
        return [found[row] for row in range(len(texts))]

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _encode(self, texts: Sequence[str], unsent: float | None, kept: Sequence[Span] | None) -> Iterator[Sentence]:
        batch, spans = self._tokenized(texts)
        memory = self.model.encode_memory(batch)
        codes_BTQ = memory.bottleneck.codes_BTQ if self.model.has_codes else None
        states_BTE = self._vectors(batch, memory) if codes_BTQ is None else memory.states_BTE
        assert states_BTE is not None, "what has codes has states before them"
        if unsent is not None and isinstance(self.model, T5VQVAE):
            kept_BT = None if kept is None else _of_words(spans, kept).to(batch.mask_BT.device)
            codes_BTQ = self.model.sparse_codes(batch, memory, unsent, kept_BT)
        for row, (text, length) in enumerate(zip(texts, batch.mask_BT.sum(-1).tolist(), strict=True)):
            yield Sentence(
                text,
                tuple(spans[row][:length]),
                states_BTE[row, :length],
                None if codes_BTQ is None else codes_BTQ[row, :length],
                None if memory.prompt_codes_BPQ is None else memory.prompt_codes_BPQ[row],
                None if batch.roles_BT is None else batch.roles_BT[row, :length],
            )

    def _tokenized(self, texts: Sequence[str]) -> tuple[Batch, list[list[Span]]]:
        """Returns texts as a batch, and the place of every token in its text."""
        tokenizer = self.model.require_tokenizer()
        tokens, spans = tokens_and_spans(tokenizer, texts, self.pairs, padding=True, return_tensors="pt")
        ids_BT, mask_BT = tokens["input_ids"], tokens["attention_mask"].bool()
        rows = zip(texts, spans, strict=True)
        roles_BT = None if self.roles is None else torch.tensor([self.roles.numbers(*each) for each in rows])
        labels_BT = ids_BT.masked_fill(~mask_BT, IGNORED_LABEL)
        batch = Batch(ids_BT, mask_BT, labels_BT, roles_BT, mask_BT.sum(-1))
        return batch.to(next(self.model.parameters()).device), spans

    def _vectors(self, batch: Batch, memory: Memory) -> Tensor:
        """Returns the vectors that the decoder reads, one a token (B, T, E) or one a sentence (B, 1, E).

        Raises:
            DataError: If the memory is made neither way.
        """
        vectors_BME = self.model.latents_of(memory)
        if vectors_BME.shape[1] not in (1, batch.mask_BT.shape[1]):
            raise DataError(
                f"a memory of {vectors_BME.shape[1]} latents a sentence has no operations; use another model"
            )
        return vectors_BME

    def _decode(self, latents: list[Tensor], prompts: list[Tensor | None]) -> list[str]:
        model, of_codes = self.model, self.model.has_codes
        latents_BTX, mask_BT = _padded(latents, PADDING if of_codes else 0.0)
        latents_BTX = latents_BTX.to(next(model.parameters()).device)
        if of_codes:
            refuse_other_codes(model, latents_BTX)
        mask_BT = mask_BT.to(latents_BTX.device)
        if isinstance(model, T5VQVAE) and not _is_of_sentences(model):
            prompts_BPQ = self._stacked(model, prompts)
            if of_codes:
                return model.decode(latents_BTX, self.max_new_tokens, prompt_codes_BPQ=prompts_BPQ)
            return model.decode_states(latents_BTX, mask_BT, self.max_new_tokens, prompt_codes_BPQ=prompts_BPQ)
        if of_codes:
            refuse_no_codes(mask_BT)
            latents_BTX = model.quantizer.lookup(latents_BTX)
        if isinstance(model, CrossLayer):
            latents_BTX = model.upwards(model.explain(latents_BTX, latents_BTX, mask_BT), mask_BT)
        return self._from_memory(latents_BTX, mask_BT)

    def _stacked(self, model: T5VQVAE, prompts: list[Tensor | None]) -> Tensor | None:
        if model.prompts is None:
            if any(each is not None for each in prompts):
                raise DataError("codes of prompts were given, and the model has no prompts; leave them out")
            return None
        known = [each for each in prompts if each is not None]
        if len(known) < len(prompts):
            raise DataError("the model has prompts: give the codes of the prompts too, as encoding a text returns them")
        number = model.prompts.config.num_prompts
        for each in known:
            if len(each) != number:
                raise DataError(f"codes of {len(each)} prompts were given, and the model has {number}; give them all")
        return torch.stack(known).to(model.device)

    def _from_memory(self, states_BME: Tensor, mask_BM: Tensor) -> list[str]:
        """Decodes a memory of a model that is no T5VQVAE of tokens."""
        output = QuantizerOutput(states_BME, None, states_BME.new_zeros(()), {}, int(mask_BM.sum()))
        blank_BM = mask_BM.long() * 0
        batch = Batch(blank_BM, mask_BM, blank_BM + IGNORED_LABEL, None, mask_BM.sum(-1))
        ids_BS = self.model.greedy(batch, self.max_new_tokens, memory=Memory(states_BME, mask_BM, output))
        return self.model.require_tokenizer().batch_decode(ids_BS, skip_special_tokens=True)


def _is_of_sentences(model: T5VQVAE) -> bool:
    """Returns whether a T5 has one latent a sentence, which is its decoder's whole memory."""
    return isinstance(model, GaussianT5) and model.config.level == "sentence"


def _padded(latents: Sequence[Tensor], filler: float) -> tuple[Tensor, Tensor]:
    """Returns latents as one tensor (B, T, X) and the mask of their real positions (B, T)."""
    lengths_B = torch.tensor([len(each) for each in latents], device=latents[0].device)
    latents_BTX = pad_sequence(list(latents), batch_first=True, padding_value=filler)
    return latents_BTX, torch.arange(latents_BTX.shape[1], device=lengths_B.device) < lengths_B[:, None]


def _of_words(spans: Sequence[Sequence[Span]], words: Sequence[Span]) -> Tensor:
    """Returns which tokens of texts belong to some words of each, bool, shape (B, T)."""
    found_BT = torch.zeros(len(spans), len(spans[0]), dtype=torch.bool)
    for row, (of_text, own) in enumerate(zip(spans, words, strict=True)):
        found_BT[row, slice(*tokens_of(of_text, own))] = True
    return found_BT
