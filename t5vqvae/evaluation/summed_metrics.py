"""Turns the sums of an evaluation into metrics: quality, judgement by meaning, rate and use of the codebook.

Keys, units and ranges stand in `t5vqvae.evaluation.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from t5vqvae.data.texts import same_text
from t5vqvae.evaluation.chains import chain_bits
from t5vqvae.evaluation.sums import Sums
from t5vqvae.evaluation.text_scores import bleu1, corpus_bleu
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.quantizers import Quantizer
from t5vqvae.quantizers.parts.usage import entropy_bits, perplexity, usage
from t5vqvae.spec.run import RunSpec

Meaning = Callable[[str, str], Literal["right", "wrong", "undecided"]]
"""Judges an answer to a source by its meaning."""
PER_CHARACTER = {
    "rate/bits_per_token": "rate/bits_per_char",
    "rate/joint_bits_per_token": "rate/joint_bits_per_char",
    "rate/prior_bits_per_token": "rate/prior_bits_per_char",
    "rate/sparse_joint_bits_per_token": "rate/sparse_joint_bits_per_char",
    "rate/sparse_prior_bits_per_token": "rate/sparse_prior_bits_per_char",
}
"""Rates a token, and their counterparts that are comparable across tokenizers."""


def quantizer_of_prompts(model: TextAutoencoder) -> Quantizer:
    """Returns the quantizer of a model's prompts."""
    return model.quantizers[-1]  # the bottleneck is the first


def quality_of(sums: Sums) -> dict[str, float]:
    """Returns cross-entropy and accuracy, and what decoded texts score if there are any."""
    metrics = {
        "nll": sums.nll / max(1, sums.num_tokens),
        "nll_per_char": sums.nll / max(1, sums.num_chars),
        "token_accuracy": sums.num_correct / max(1, sums.num_tokens),
    }
    if sums.num_swapped:
        metrics["latent_gain"] = sums.nll_swapped / sums.num_swapped
    if sums.decoded:
        targets, texts = [row[2] for row in sums.decoded], [row[3] for row in sums.decoded]
        matches = [same_text(target, text) for target, text in zip(targets, texts, strict=True)]
        metrics["exact_match"] = sum(matches) / len(matches)
        metrics["bleu"] = corpus_bleu(targets, texts)
        metrics["bleu1"] = sum(map(bleu1, targets, texts)) / len(texts)
    return metrics


def meaning_of(sums: Sums, spec: RunSpec) -> dict[str, float]:
    """Returns how many decoded answers are right by meaning; nothing where none were decoded."""
    pairs = [(row[1], row[3]) for row in sums.decoded]
    return shares_by_meaning(spec.data.corpus.judge, pairs) if pairs else {}


def shares_by_meaning(judge: Meaning, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Returns the share of right answers among those that could be decided, and the share of the others.

    Args:
        judge: Judges an answer to a source.
        pairs: Sources and answers; where none can be decided, there is no share of right ones.
    """
    verdicts = [judge(" ".join(source.split()), " ".join(answer.split())) for source, answer in pairs]
    undecided = verdicts.count("undecided")
    decided = len(verdicts) - undecided
    right = {"meaning_match": verdicts.count("right") / decided} if decided else {}
    return {**right, "meaning_undecided": undecided / len(verdicts)}


def rates_of(sums: Sums, model: TextAutoencoder, counted: Sums) -> dict[str, float]:
    """Returns the rates and the use of the codebooks; a model whose decoder sees past the codes has no rate.

    Args:
        sums: The sums over the evaluated sentences.
        model: The model.
        counted: The codes of training sentences, on which chains are counted; empty: without the rates under chains.
    """
    metrics = {"rate/log2_vocabulary": math.log2(len(model.require_tokenizer()))}
    metrics |= {name: above / max(1e-12, below) for name, (above, below) in sums.measures.items()}
    if not sums.counts:
        return metrics
    if sums.energy > 0:
        metrics["codebook/quantization_error"] = sums.error / sums.energy
    metrics["codebook/perplexity"] = _mean([perplexity(counts) for counts in sums.counts])
    metrics["codebook/usage"] = _mean([usage(counts) for counts in sums.counts])
    if model.leaks:
        return metrics
    bits, log2_codes = sum(map(entropy_bits, sums.counts)), _log2_codes(model.quantizer)
    if sums.prompt_counts:
        share = sums.num_prompts / sums.num_positions
        bits += share * sum(map(entropy_bits, sums.prompt_counts))
        log2_codes += share * _log2_codes(quantizer_of_prompts(model))
        metrics["prompts/perplexity"] = _mean([perplexity(counts) for counts in sums.prompt_counts])
    metrics |= _chain_rates(sums, model, counted)
    metrics |= per_character({"rate/bits_per_token": bits, **metrics}, sums.num_positions / max(1, sums.num_chars))
    return metrics | {
        "rate/bits_per_token": bits,
        "rate/bits_per_sentence": bits * sums.num_positions / sums.num_sentences,
        "rate/log2_codes": log2_codes,
    }


def per_character(rates: Mapping[str, float], tokens_per_char: float) -> dict[str, float]:
    """Returns the counterparts of rates a token that are comparable across tokenizers."""
    return {new: rates[old] * tokens_per_char for old, new in PER_CHARACTER.items() if old in rates}


def _chain_rates(sums: Sums, model: TextAutoencoder, counted: Sums) -> dict[str, float]:
    """Returns the rates of the codes under chains over the counted ones; none if none were counted."""
    if not counted.codes:
        return {}
    joint, prior = chain_bits(counted.codes, sums.codes, model.quantizer.code_sizes)
    if sums.prompt_codes:
        share = sums.num_prompts / sums.num_positions
        alone, after = chain_bits(counted.prompt_codes, sums.prompt_codes, quantizer_of_prompts(model).code_sizes)
        joint, prior = joint + share * alone, prior + share * after
    return {"rate/joint_bits_per_token": joint, "rate/prior_bits_per_token": prior}


def _log2_codes(quantizer: Quantizer) -> float:
    """Returns the bits a position of a quantizer with codes, if all of them were equally frequent."""
    assert quantizer.log2_codes is not None, "codes were counted"
    return quantizer.log2_codes


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
