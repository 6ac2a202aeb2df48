"""The rows of the results table: which shipped study's base, what is changed of it, and how many seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from t5vqvae.config import Overrides
from t5vqvae.spec.run import RunSpec

ROOT = Path(__file__).resolve().parents[2]
Key = tuple[str, int]
"""A row and a seed."""
Values = Mapping[str, float]
Done = Mapping[Key, Values]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        study: The study whose base it takes.
        seeds: How many seeds it has.
        changed: What it changes of the base.
    """

    study: str
    seeds: int
    changed: Overrides

    def spec(self, seed: int, device: str) -> RunSpec:
        """Returns the run of a seed."""
        study = yaml.safe_load((ROOT / "tune" / "studies" / f"{self.study}.yaml").read_text())
        base = study["base"]
        if self.changed.get("quantizer.name", base.get("quantizer.name")) != base.get("quantizer.name"):
            base = {name: value for name, value in base.items() if not name.startswith("quantizer.")}
        changed = self.changed
        if changed.get("quantizer.name") == "none":
            changed = {name: value for name, value in changed.items() if name != "quantizer.codebook_size"}
        run = RunSpec().with_overrides({**base, **changed, "seed": seed, "train.device": device})
        return run.with_overrides({"train.eval_every": run.train.max_steps, "evaluate.batch_size": 256})

    @property
    def is_augmented(self) -> bool:
        """Whether training rows are added."""
        augment = self.spec(0, "cpu").data.augment
        return augment.rename > 0 or augment.join > 0

    def names_tokens(self, values: Values) -> bool:
        """Returns whether its codes are of the embeddings, with at least as many codes as tokens.

        Args:
            values: What was measured of one of its models.
        """
        of_embeddings = getattr(self.spec(0, "cpu").model, "position", None) == 0
        return of_embeddings and values.get("rate/log2_codes", 0.0) >= values["rate/log2_vocabulary"]


def names_tokens_in_effect(values: Values) -> bool:
    """Returns whether a model's codes have the tokens' own entropy within .1 bits, so that nearly each has one code."""
    bits, entropy = (values.get(f"test/rate/{name}") for name in ("bits_per_token", "token_entropy_bits"))
    return bits is not None and entropy is not None and abs(bits - entropy) < 0.1


AT_EMBEDDINGS: Overrides = {"model.position": 0, "quantizer.start": "embeddings"}
RANDOMIZED: Overrides = {"model.cross_positions": "randomized"}
"""Better than relative ones on the twins of the tests: tune/studies/reports/recipe_positions."""
RELATIVE: Overrides = {"model.cross_positions": "relative"}
NO_REVIVAL: Overrides = {"quantizer.revive_below": None}
"""Revival takes the codes of rare tokens away, since their count is low: then they come back as others."""
FAR_REVIVAL: Overrides = {"quantizer.revive_below": 0.02, "quantizer.revive_beyond": 0.5}
"""Chosen by one pilot, by its rate and the twins; tune/studies/reports/revival_far, of five seeds, agrees."""
TOKENS_NAMED: Overrides = {**AT_EMBEDDINGS, **NO_REVIVAL}
WARM: Overrides = {"train.quantize_from": 500, "train.max_steps": 2000}
LONGER: Overrides = {"train.max_steps": 3600}
"""Chosen by the cross-entropy of the twins, which goes on falling after 1,200 steps."""
LONG: Overrides = {"train.max_steps": 8000}
BY_MEANING: Overrides = {"evaluate.meaning": True}
FEW_NOUNS: Overrides = {"data.corpus.num_nouns": 1000, "train.max_steps": 5000}
SMALL_BATCH: Overrides = {**LONG, "train.batch_size": 64, "train.precision": "auto"}
"""A fifth to a quarter of the examples that the studies train on: what a CPU core gets through in about an hour."""
BEHIND_A_BLOCK: Overrides = {"quantizer.codebook_size": 2048, "train.quantize_from": 500}
"""Not searched: more codes than tokens, because a code of the tokens' own number holds no context."""
DROPOUT: Overrides = {"model.dropout": 0.2}
NO_CODES: Overrides = {"quantizer.name": "none"}
SUMMARIES: Overrides = {
    **DROPOUT,
    "data.corpus.dataset": "summarization",
    "data.max_length": 600,
    "data.max_target_length": 96,
    "train.batch_size": 32,
    "train.max_steps": 2000,
}
"""Some training abstracts are longer, and left out; no validation or test abstract is."""
RESPONSES: Overrides = {
    **DROPOUT,
    "data.corpus.dataset": "dialogue",
    "data.tokenizer.vocab_size": 2000,
    "data.max_length": 60,
    "data.max_target_length": 48,
    "quantizer.codebook_size": 2048,
}
ROWS: dict[str, Row] = {
    "math, position 0": Row("math_ood", 5, {**AT_EMBEDDINGS, **RELATIVE, "quantizer.codebook_size": 512}),
    "math, end": Row("math_ood", 5, RELATIVE),
    "math, randomized positions, position 0": Row(
        "math_ood", 5, {**AT_EMBEDDINGS, **RANDOMIZED, "quantizer.codebook_size": 512}
    ),
    "math, randomized positions, end": Row("math_ood", 5, RANDOMIZED),
    "math, no revival, position 0": Row(
        "math_ood", 5, {**TOKENS_NAMED, **RANDOMIZED, **LONGER, "quantizer.codebook_size": 512}
    ),
    "math, no revival, end": Row("math_ood", 5, {**RANDOMIZED, **NO_REVIVAL, **LONGER}),
    "math, far revival, end": Row("math_ood", 5, {**RANDOMIZED, **FAR_REVIVAL, **LONGER}),
    "math, K 4096, end": Row("math_ood", 5, {**RANDOMIZED, **LONGER, "quantizer.codebook_size": 4096}),
    "explanations, position 0": Row("explanations", 5, {**AT_EMBEDDINGS, **RELATIVE, "quantizer.codebook_size": 4096}),
    "explanations, end": Row("explanations", 5, {**RELATIVE, **WARM, "quantizer.codebook_size": 8192}),
    "explanations, no revival, position 0": Row(
        "explanations", 5, {**TOKENS_NAMED, **RELATIVE, "quantizer.codebook_size": 4096}
    ),
    "explanations, no revival, end": Row(
        "explanations", 5, {**RELATIVE, **NO_REVIVAL, **WARM, "quantizer.codebook_size": 8192}
    ),
    "explanations, far revival, end": Row(
        "explanations", 5, {**RELATIVE, **FAR_REVIVAL, **WARM, "quantizer.codebook_size": 8192}
    ),
    "syllogisms, position 0": Row("syllogisms", 3, {**TOKENS_NAMED, **FEW_NOUNS}),
    "syllogisms, position 1": Row("syllogisms", 3, {**FEW_NOUNS, **BEHIND_A_BLOCK}),
    "syllogisms, none": Row("syllogisms", 3, {**FEW_NOUNS, **NO_CODES}),
    "syllogisms, 3000 nouns, position 0": Row("syllogisms", 3, TOKENS_NAMED),
    "syllogisms, small batch, position 0": Row("syllogisms", 1, {**TOKENS_NAMED, **FEW_NOUNS, **SMALL_BATCH}),
    "derive, position 0": Row("derive", 3, {**TOKENS_NAMED, **BY_MEANING}),
    "derive, position 1": Row("derive", 3, {**BY_MEANING, **BEHIND_A_BLOCK}),
    "derive, none": Row("derive", 3, {**BY_MEANING, **NO_CODES}),
    "derive, small batch, position 0": Row(
        "derive", 1, {**TOKENS_NAMED, **BY_MEANING, **SMALL_BATCH, "data.corpus.size": 40_000}
    ),
    "entailment, joint": Row("entailment", 3, DROPOUT),
    "entailment, separate": Row("entailment", 3, {**DROPOUT, "model.premises": "separate"}),
    "entailment, none": Row("entailment", 3, {**DROPOUT, **NO_CODES}),
    "summarization, position 0": Row("entailment", 3, {**SUMMARIES, **TOKENS_NAMED}),
    "summarization, position 1": Row("entailment", 3, SUMMARIES),
    "summarization, none": Row("entailment", 3, {**SUMMARIES, **NO_CODES}),
    "dialogue, position 0": Row("entailment", 3, {**RESPONSES, **TOKENS_NAMED}),
    "dialogue, position 1": Row("entailment", 3, RESPONSES),
    "dialogue, none": Row("entailment", 3, {**RESPONSES, **NO_CODES}),
}


def without_bottleneck(name: str) -> str | None:
    """Returns the row of the same training without a bottleneck; None if there is none, or it is that row."""
    other = f"{name.rpartition(',')[0]}, none"
    return other if other in ROWS and other != name else None
