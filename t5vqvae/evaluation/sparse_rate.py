"""Quality and rate of sparse codes: only those that the decoder cannot do without are sent.

The rate counts what the decoder reads. Where a vector stands for what is not sent, that is the sent codes *and* the
mask: "not sent" is one more entry of the first codebook, and the chain of `t5vqvae.latent.prior` predicts it like any
code, so at every position the mask costs what the chain does not foresee. Where what is not sent is removed
(`model.not_sent=removed`), it is the sent codes alone. Either way one more entry ends each sentence: the code of the
text's own end need not be sent. Further codebooks of such a position have one code, which costs nothing. Codes of
prompts are always sent, and count as in the other rates.

Letters: B batch, T positions of a sentence, P prompts, Q codes a position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t5vqvae.data import TokenizedSplit, evaluation_batches
from t5vqvae.data.batching import Array
from t5vqvae.data.texts import same_text
from t5vqvae.evaluation.chains import SentenceCodes, chain_bits, note_codes, num_counted_sentences
from t5vqvae.evaluation.summed_metrics import per_character
from t5vqvae.models.codes import NOT_SENT
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.spec.run import RunSpec
from t5vqvae.stages import stage


@dataclass
class _Noted:
    """The sparse codes, and the codes of prompts, of sentences by their index in the split."""

    codes: SentenceCodes = field(default_factory=dict)
    prompt_codes: SentenceCodes = field(default_factory=dict)

    def add(self, indices: Array, codes_BTQ: Tensor, prompt_codes_BPQ: Tensor | None) -> None:
        """Adds a batch, without padding."""
        for index, codes_TQ in zip(indices.tolist(), codes_BTQ.cpu().numpy(), strict=True):
            self.codes[index] = codes_TQ[codes_TQ[:, 0] != -1]
        if prompt_codes_BPQ is not None:
            note_codes(self.prompt_codes, indices, prompt_codes_BPQ)


@torch.no_grad()
def sparse_metrics(
    model: T5VQVAE, split: TokenizedSplit, train: TokenizedSplit | None, spec: RunSpec, limit: int | None, longest: int
) -> dict[str, float]:
    """Returns the metrics of sparse codes; the model is in evaluation mode.

    There are none while the bottleneck is bypassed, nor of a model whose decoder sees past the codes: it cannot decode
    them.

    Args:
        model: A model trained with code dropout.
        split: The sentences.
        train: The training split, on whose sparse codes the chains are counted; None: without rates.
        spec: Its `evaluate.unsent` is the bound.
        limit: Sentences to read; None: all.
        longest: Tokens after which decoding stops.
    """
    nats, size = spec.evaluate.unsent, spec.evaluate.batch_size
    assert nats is not None, "the caller measures sparse codes"
    if model.leaks or not model.has_codes:
        return {}
    noted = _Noted()
    nll = chars = matches = 0.0
    with stage("leaving out codes", min(len(split), limit or len(split)), "sentences") as now:
        for indices, batch in evaluation_batches(split, size, limit=limit):
            batch = batch.to(model.device)
            memory = model.encode_memory(batch)
            codes_BTQ, prompts = model.sparse_codes(batch, memory, nats), memory.prompt_codes_BPQ
            nll += float(model.sentence_nll(*model.sent_states(codes_BTQ), batch.labels_BS, prompts).sum())
            chars += int(batch.num_chars_B.sum())
            texts = model.decode(codes_BTQ, longest, prompt_codes_BPQ=prompts)
            matches += sum(map(same_text, split.texts(indices.tolist()), texts))
            noted.add(indices, codes_BTQ, prompts)
            now.advance(len(indices))
    found = {
        "rate/sent_share": float(np.mean(np.concatenate(list(noted.codes.values()))[:, 0] != NOT_SENT)),
        "sparse/exact_match": matches / len(noted.codes),
        "sparse/nll_per_char": nll / max(1, chars),
    }
    if train is None:
        return found
    rates = _rates(model, train, noted, spec)
    return found | rates | per_character(rates, sum(map(len, noted.codes.values())) / max(1, chars))


def _rates(model: T5VQVAE, train: TokenizedSplit, scored: _Noted, spec: RunSpec) -> dict[str, float]:
    """Returns the bits of sparse codes, a token, under chains counted on training sentences."""
    first, *others = model.quantizer.code_sizes
    assert model.encoder.not_sent is not None, "a model with sparse codes"
    removes = model.encoder.not_sent.removes
    written = partial(symbols, codebook_size=first, removes=removes)
    scored_symbols = {row: written(each) for row, each in scored.codes.items()}
    num_tokens = sum(map(len, scored.codes.values()))
    a_token = sum(map(len, scored_symbols.values())) / num_tokens
    # Enough sentences for as many symbols as other rates count codes.
    counted, nats = _Noted(), spec.evaluate.unsent
    limit = min(len(train), math.ceil(num_counted_sentences(train) / min(1.0, a_token)))
    assert nats is not None, "the caller measures sparse codes"
    with stage("leaving out codes of training sentences", limit, "sentences") as now:
        for indices, batch in evaluation_batches(train, spec.evaluate.batch_size, limit=limit):
            batch = batch.to(model.device)
            memory = model.encode_memory(batch)
            counted.add(indices, model.sparse_codes(batch, memory, nats), memory.prompt_codes_BPQ)
            now.advance(len(indices))
    counted_symbols = {row: written(each) for row, each in counted.codes.items()}
    sizes = (first + (1 if removes else 2), *others)
    joint, prior = (a_token * bits for bits in chain_bits(counted_symbols, scored_symbols, sizes))
    if model.prompts is not None:
        share = sum(map(len, scored.prompt_codes.values())) / num_tokens
        sizes = model.prompts.quantizer.code_sizes
        alone, after = chain_bits(counted.prompt_codes, scored.prompt_codes, sizes)
        joint, prior = joint + share * alone, prior + share * after
    return {"rate/sparse_joint_bits_per_token": joint, "rate/sparse_prior_bits_per_token": prior}


def symbols(codes_TQ: npt.NDArray[np.int64], codebook_size: int, removes: bool) -> npt.NDArray[np.int64]:
    """Returns what is sent of a sentence and an end, shape (its symbols, Q).

    Args:
        codes_TQ: Its codes, `NOT_SENT` where none is sent.
        codebook_size: Entries of the first codebook. The entry behind the last one is the end, the next "not sent".
        removes: Whether positions that are not sent are removed; otherwise they have their own entry.
    """
    sent_T = codes_TQ[:, 0] != NOT_SENT
    symbols_TQ = codes_TQ[sent_T] if removes else np.where(sent_T[:, None], codes_TQ, 0)
    if not removes:
        symbols_TQ[~sent_T, 0] = codebook_size + 1
    end_1Q = np.zeros((1, codes_TQ.shape[1]), dtype=codes_TQ.dtype)
    end_1Q[:, 0] = codebook_size
    return np.concatenate([symbols_TQ, end_1Q])
