"""The model for texts: texts to codes, codes to texts, saved and loaded with its tokenizer.

Letters: B batch, T encoder positions, E model width, P prompts, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.special_tokens import guard
from t5vqvae.data.texts import Text, tokenized
from t5vqvae.errors import CheckpointError, DataError
from t5vqvae.models.backbones import UNREADABLE, first_fault, first_line, quietly
from t5vqvae.models.codes import NOT_SENT, check_codes, refuse_no_codes
from t5vqvae.models.contract import Memory
from t5vqvae.models.t5.config import T5VQVAEConfig
from t5vqvae.models.t5.not_sent import NotSent
from t5vqvae.models.t5.quantized_t5 import QuantizedT5
from t5vqvae.models.t5.sparse import left_out
from t5vqvae.quantizers import QuantizerOutput


class T5VQVAE(QuantizedT5):
    """A text autoencoder: T5 with a quantizer between encoder and cross-attention.

    Attributes:
        tokenizer: Loaded by `from_pretrained` if it was saved with the weights. Every method with texts needs it.
    """

    def _tokenize(self, texts: str | Sequence[Text]) -> tuple[Tensor, Tensor]:
        ids_BT, mask_BT = tokenized(self.require_tokenizer(), texts)
        return ids_BT.to(self.device), mask_BT.to(self.device)

    @torch.no_grad()
    def encode_states(self, texts: str | Sequence[Text]) -> tuple[Tensor, Tensor]:
        """Returns the states before the quantizer, shape (B, T, E), and the mask, shape (B, T)."""
        ids_BT, mask_BT = self._tokenize(texts)
        if not len(ids_BT):
            return torch.zeros(0, 0, self.config.d_model, device=self.device), mask_BT
        self.encoder(ids_BT, mask_BT)
        assert self.encoder.states_BTE is not None
        return self.encoder.states_BTE, mask_BT

    @torch.no_grad()
    def encode(self, texts: str | Sequence[Text], *, unsent: float | None = None) -> Tensor:
        """Returns the codes of texts, int64, shape (B, T, Q), -1 at padding.

        Args:
            texts: Texts, or pairs of texts that follow each other. One string is one text; no text gives no codes.
            unsent: Leaves out codes as long as the text's cross-entropy stays below so many nats; such a position is
                `NOT_SENT` (-2). None: every code is sent. See `sparse.py` for what it costs.

        Raises:
            ValueError: If the model has no bottleneck, so no codes; or no entry for what is not sent.
            DataError: If one of the texts is no text, or codes depend on roles, which a text alone does not have.
        """
        self._refuse_roles()
        ids_BT, mask_BT = self._tokenize(texts)
        if not self.quantizer.discrete:
            raise ValueError(f"quantizer {self.config.quantizer_config().name} has no codes")
        if not len(ids_BT):
            return torch.zeros(0, 0, self.quantizer.num_codebooks, dtype=torch.int64, device=self.device)
        memory = self._remember(ids_BT, mask_BT)
        codes_BTQ = memory.bottleneck.codes_BTQ
        if codes_BTQ is None:  # the bottleneck is bypassed
            raise ValueError(f"quantizer {self.config.quantizer_config().name} has no codes yet")
        if unsent is None:
            return codes_BTQ
        labels_BS = ids_BT.masked_fill(~mask_BT, IGNORED_LABEL)
        batch = Batch(ids_BT, mask_BT, labels_BS, None, mask_BT.sum(-1))
        return self.sparse_codes(batch, memory, unsent)

    @torch.no_grad()
    def sparse_codes(self, batch: Batch, memory: Memory, nats: float, kept_BT: Tensor | None = None) -> Tensor:
        """Returns the codes of a batch, (B, T, Q), `NOT_SENT` where the decoder can do without; see `sparse.py`.

        Args:
            batch: Sentences with the texts to decode.
            memory: The model's memory of them.
            nats: Bound of a sentence's cross-entropy without the codes that are left out.
            kept_BT: Positions that are sent in any case, (B, T).

        Raises:
            ValueError: If the model was trained without code dropout.
        """
        not_sent, was_training = self._require_not_sent(), self.training
        quantized_BTE, codes_BTQ = memory.bottleneck.quantized_BTE, memory.bottleneck.codes_BTQ
        assert codes_BTQ is not None, "the bottleneck is in use"

        def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
            mask_NT = _without_padding(batch.mask_BT[sentences_N], batch.mask_BT[sentences_N])
            labels_NS = batch.labels_BS[sentences_N]
            labels_NS = _without_padding(labels_NS, labels_NS != IGNORED_LABEL)
            longest = mask_NT.shape[1]
            states_NME, mask_NM = not_sent.leave_out(quantized_BTE[sentences_N, :longest], out_NT[:, :longest], mask_NT)
            prompts = None if memory.prompt_codes_BPQ is None else memory.prompt_codes_BPQ[sentences_N]
            return self.sentence_nll(states_NME, mask_NM, labels_NS, prompts)

        self.train(False)
        try:
            gate, states_BTE = self.encoder.gate, memory.states_BTE
            gate_BT = None if gate is None or states_BTE is None else gate.logits(states_BTE)
            out_BT = left_out(score, batch.mask_BT, nats, gate_BT, kept_BT)
            return codes_BTQ.masked_fill(out_BT.unsqueeze(-1), NOT_SENT)
        finally:
            self.train(was_training)

    def _require_not_sent(self) -> NotSent:
        if self.encoder.not_sent is None:
            raise ValueError("the model was trained without code dropout; train one with train.code_dropout=0.6")
        return self.encoder.not_sent

    @torch.no_grad()
    def sentence_nll(
        self, quantized_BTE: Tensor, mask_BT: Tensor, labels_BS: Tensor, prompt_codes_BPQ: Tensor | None = None
    ) -> Tensor:
        """Returns the cross-entropy of every target text given quantized states, nats, shape (B,)."""
        memory, mask_BM = self._memory_of(quantized_BTE, mask_BT, prompt_codes_BPQ)
        assert memory.last_hidden_state is not None
        logits_BSV = self._logits(memory.last_hidden_state, mask_BM, labels_BS)
        nll_N = F.cross_entropy(logits_BSV.float().flatten(0, 1), labels_BS.flatten(), reduction="none")
        return nll_N.view(labels_BS.shape).sum(1)

    @torch.no_grad()
    def quantize(self, states_BTE: Tensor, mask_BT: Tensor, roles_BT: Tensor | None = None) -> QuantizerOutput:
        """Quantizes states that `encode_states` returned.

        Raises:
            DataError: If codes depend on roles and there are none.
        """
        if roles_BT is None:
            self._refuse_roles()
        return self.quantizer(states_BTE, mask_BT, roles_BT)

    def _refuse_roles(self) -> None:
        if self.quantizer.reads_roles:
            raise DataError(
                "codes of this model depend on roles, which a text alone does not have; use `t5vqvae encode` or"
                " t5vqvae.latent.LatentSpace, which read them as training did"
            )

    def embed_codes(self, codes_BTQ: Tensor) -> Tensor:
        """Returns the quantized states of codes, (B, T, E); zero at padding, learned (or zero) where nothing is sent.

        Raises:
            DataError: If they are no codes of this model: another shape, type or range.
        """
        not_sent = self.encoder.not_sent
        check_codes(codes_BTQ, self.quantizer.code_sizes, "codes", not_sent=not_sent is not None)
        states_BTE = self.quantizer.lookup(codes_BTQ.clamp_min(-1)).to(self.shared.weight.dtype)
        return states_BTE if not_sent is None else not_sent.put(states_BTE, (codes_BTQ == NOT_SENT).all(-1))

    def sent_states(self, codes_BTQ: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the decoder gets of codes: quantized states (B, M, E) and their mask (B, M).

        Raises:
            DataError: If they are no codes of this model, or a sentence has none.
        """
        states_BTE, mask_BT = self.embed_codes(codes_BTQ), (codes_BTQ != -1).all(-1)
        not_sent = self.encoder.not_sent
        if not_sent is not None:
            states_BTE, mask_BT = not_sent.leave_out(states_BTE, (codes_BTQ == NOT_SENT).all(-1), mask_BT)
        refuse_no_codes(mask_BT)
        return states_BTE, mask_BT

    @torch.no_grad()
    def encode_prompts(self, texts: str | Sequence[Text]) -> Tensor:
        """Returns the codes of the texts' prompts, int64, shape (B, P, 1).

        Raises:
            ValueError: If the model has no quantized prompts.
        """
        ids_BT, mask_BT = self._tokenize(texts)
        if self.prompts is not None and not len(ids_BT):
            return torch.zeros(0, self.prompts.config.num_prompts, 1, dtype=torch.int64, device=self.device)
        codes_BPQ = self._remember(ids_BT, mask_BT).prompt_codes_BPQ
        if codes_BPQ is None:
            raise ValueError("the model has no quantized prompts, so its prompts have no codes")
        return codes_BPQ

    @torch.no_grad()
    def decode(
        self, codes_BTQ: Tensor, max_new_tokens: int = 64, *, prompt_codes_BPQ: Tensor | None = None
    ) -> list[str]:
        """Decodes codes to texts, greedily; a model with prompts needs their codes too.

        Raises:
            DataError: If they are no codes of this model, or a sentence has none.
        """
        states_BME, mask_BM = self.sent_states(codes_BTQ)
        return self.decode_states(states_BME, mask_BM, max_new_tokens, prompt_codes_BPQ=prompt_codes_BPQ)

    @torch.no_grad()
    def decode_states(
        self,
        quantized_BTE: Tensor,
        mask_BT: Tensor,
        max_new_tokens: int = 64,
        *,
        prompt_codes_BPQ: Tensor | None = None,
    ) -> list[str]:
        """Decodes quantized states to texts: the encoder blocks after `position` run on them, then the decoder.

        Raises:
            ValueError: If the model has prompts and their codes are missing.
        """
        if not len(quantized_BTE):
            return []
        memory, mask_BM = self._memory_of(quantized_BTE, mask_BT, prompt_codes_BPQ)
        ids = self._generate_from(memory, mask_BM, max_new_tokens)
        return self.require_tokenizer().batch_decode(ids, skip_special_tokens=True)

    def _memory_of(
        self, quantized_BTE: Tensor, mask_BT: Tensor, prompt_codes_BPQ: Tensor | None
    ) -> tuple[BaseModelOutput, Tensor]:
        """Returns the decoder's memory of quantized states, prompts first, and its mask.

        Raises:
            ValueError: If the model has prompts and their codes are missing.
        """
        quantized_BTE = quantized_BTE.to(self.shared.weight.dtype)
        states_BME = self.encoder.behind(quantized_BTE, mask_BT)
        if self.prompts is not None:
            if prompt_codes_BPQ is None:
                raise ValueError("the model has prompts: decoding needs prompt_codes_BPQ, see encode_prompts")
            check_codes(prompt_codes_BPQ, self.prompts.quantizer.code_sizes, "prompt codes", len(mask_BT))
            prompts_BPE = self.prompts.embed(prompt_codes_BPQ).to(quantized_BTE)
            states_BME = torch.cat([prompts_BPE, states_BME], 1)
            mask_BT = torch.cat([mask_BT.new_ones(prompts_BPE.shape[:2]), mask_BT], 1)
        return BaseModelOutput(last_hidden_state=states_BME), mask_BT

    @classmethod
    def from_pretrained(cls, path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Loads a model that `save_pretrained` wrote, with the tokenizer if it was saved too.

        Raises:
            CheckpointError: If a file is damaged or missing, or a tensor is: nothing is drawn anew.
        """
        wants_report = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("ignore_mismatched_sizes", True)  # a shape that does not fit is refused below, by its name
        try:
            with quietly():
                loaded: Any = super().from_pretrained(path, output_loading_info=True, **kwargs)
        except UNREADABLE as error:
            raise CheckpointError(
                f"the model in {path} cannot be loaded: {first_line(error)}; use another copy"
            ) from error
        model: Any = loaded[0]
        if fault := first_fault(model, loaded[1]):
            raise CheckpointError(f"the model in {path} is not whole: {fault}; use another copy")
        if Path(path, "tokenizer_config.json").is_file():
            model.tokenizer = guard(transformers.AutoTokenizer.from_pretrained(path))
        return loaded if wants_report else model  # as Transformers does

    def save_pretrained(self, directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Writes config and weights (safetensors), and the tokenizer if the model has one."""
        super().save_pretrained(directory, **kwargs)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(directory)


def _without_padding(values_NT: Tensor, real_NT: Tensor) -> Tensor:
    """Returns values without the last positions that are padding in every sentence."""
    return values_NT[:, : int(real_NT.any(0).nonzero().max()) + 1]


transformers.AutoConfig.register("t5vqvae", T5VQVAEConfig, exist_ok=True)
transformers.AutoModelForSeq2SeqLM.register(T5VQVAEConfig, T5VQVAE, exist_ok=True)
