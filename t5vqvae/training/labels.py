"""Labels of a run that every reader of its numbers must see: what its codes can name, and what its data was given."""

from __future__ import annotations

from t5vqvae.data import PreparedData
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec

NAMES_TOKENS, AUGMENTED, TWO_STAGES = "label/names_tokens", "label/augmented", "label/two_stages"
EXTRA_TEXT = "label/extra_text"
MIXED = "label/mixed"


def labels(spec: RunSpec, model: TextAutoencoder, prepared: PreparedData) -> dict[str, str]:
    """Returns the labels of a run with what they rest on; none for most runs."""
    found = {NAMES_TOKENS: _names_tokens(spec, model), AUGMENTED: _augmented(prepared), TWO_STAGES: _two_stages(spec)}
    found[EXTRA_TEXT] = _extra_text(prepared)
    return {name: text for name, text in found.items() if text}


def _names_tokens(spec: RunSpec, model: TextAutoencoder) -> str:
    """Recognises a bottleneck of the embeddings that has a code for every token: it may only name them."""
    log2_codes = model.quantizer.log2_codes
    if getattr(spec.model, "position", None) != 0 or log2_codes is None:
        return ""
    num_codes, num_tokens = round(2**log2_codes), len(model.require_tokenizer())
    if num_codes < num_tokens:
        return ""
    return f"names tokens: model.position=0 quantizes embeddings, with {num_codes} codes for {num_tokens} tokens"


def _augmented(prepared: PreparedData) -> str:
    added = {kind: number for kind, number in prepared.num_augmented.items() if number}
    if not added:
        return ""
    words = ", ".join(f"{kind} {number}" for kind, number in added.items())
    return f"{words} of {len(prepared.train)} training rows were added"


def _extra_text(prepared: PreparedData) -> str:
    if not prepared.extra_text:
        return ""
    left_out = [f"{number} {reason}" for reason, number in prepared.extra_text.items() if reason != "kept"]
    return (
        f"the first stage read {prepared.extra_text['kept']} sentences of data.extra_text next to"
        f" {len(prepared.train)} training rows; left out: {', '.join(left_out) or 'none'}"
    )


def _two_stages(spec: RunSpec) -> str:
    steps, position = spec.train.autoencode_steps, getattr(spec.model, "position", None)
    if not steps:
        return ""
    blocks = f", encoder blocks 1 to {position}" if position else ""
    return f"steps 1 to {steps} trained an auto-encoder of the sources; then embeddings{blocks} and the quantizer froze"
