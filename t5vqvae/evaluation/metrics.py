"""Lists every metric of the project once: key, unit, direction, label and meaning.

To add a metric, give it one entry in `METRICS` and compute it at one place; objectives, constraints, reports, the
board, gates and tracking read it from here. Keys read `split/name`, as in `Milestone.metrics`. Tests compare this list
with what runs of every kind produce, and with every key that the source code and the shipped studies name.

Imports neither torch nor any other heavy library: a command that only checks a study file reads this list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Direction = Literal["minimize", "maximize"]
Per = Literal["token", "word", "character", "sentence", "edit", "path", "step", ""]
Role = Literal["objective", "constraint", "record"]

RATE = "rate/bits_per_token"
"""Every run with a bottleneck has this metric; a run without it is a control, whose latent leaks."""
JOINT_RATE = "rate/joint_bits_per_token"
"""The rate to bound: codebooks that repeat each other count once. Runs of earlier versions lack it."""
STEP = "progress/step"
STEP_SECONDS = "cost/step_seconds"
GPUS = "cost/gpus"
PRICES = (RATE, JOINT_RATE, STEP_SECONDS, "cost/peak_memory_mb", "cost/parameters")
"""Shown with every effect on quality: a quality says nothing without its price."""

_TEXTS = "evaluate.num_generated"
_EDITS = "evaluate.control"
_UNSENT = "evaluate.unsent"
_OOD = "data.ood"
_MEANING = "evaluate.meaning"
NEEDED = {
    _TEXTS: "decoded text",
    _EDITS: "edits of codes",
    _UNSENT: "sparse codes",
    _OOD: "validation sets that are out of distribution",
    _MEANING: "answers judged by meaning",
}
"""What is missing while a setting is off."""
OFF: Mapping[str, object] = {_TEXTS: 0, _EDITS: 0, _UNSENT: None, _OOD: 0, _MEANING: False}
"""The value of these settings that means off."""
_DECODED = f"{_TEXTS} is not 0"
_CONTROL = f"{_EDITS} is not 0"
_PROBE = "a probe"
_LABELS = "a probe with labels"
_ENCODER = "a probe with a frozen encoder"
_EARLIER = "a probe with an earlier checkpoint"
_SPARSE = f"{_UNSENT} is set"
_SPARSE_EDITS = f"{_UNSENT} is set, and {_EDITS} is not 0"
_TWINS = f"{_OOD} is not 0"
_JUDGED = f"{_MEANING} is true, and {_TEXTS} is not 0"
_STAGED = "train.autoencode_steps is not 0"
_CHANGED = "edits that change the text"
_RECONSTRUCTED = "edits of sentences that the model reconstructs"
_CODES = "a quantizer with codes"
_BOTTLENECK = "a bottleneck of codes with nothing that leaks past it"
_GAUSSIAN = "a Gaussian latent"
_CUDA = "a GPU"
_TRACKED = "a run that is tracked"


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: `split/name`. A `*` stands for a number or a name, such as the number of a GPU.
        unit: What it counts; `1` for a pure number.
        per: What it is divided by; empty for nothing. A value per token depends on the tokenizer.
        direction: Whether less or more of it is better; None if neither.
        description: What it measures, with its range.
        role: Its highest use in a study. An `objective` may also be a constraint; a `record` is neither.
        words: How people read it; empty for the key without its split.
        brief: Its format in a line of progress, such as `nll {:.3f}`; empty if that line leaves it out.
        instead: The objective to take where the tokenizer differs between trials; empty if this one may stay.
        needs: The setting without which it is not measured, such as `evaluate.num_generated`; empty for none.
        weighted: Whether it contains loss weights, which a study may vary.
        when: The condition under which it exists; empty if every milestone of a healthy run has it.
    """

    key: str
    unit: str
    per: Per
    direction: Direction | None
    description: str
    role: Role = "record"
    words: str = ""
    brief: str = ""
    instead: str = ""
    needs: str = ""
    weighted: bool = False
    when: str = ""

    @property
    def split(self) -> str:
        """The first part of the key."""
        return self.key.partition("/")[0]

    @property
    def label(self) -> str:
        """The name that people read."""
        return self.words or self.key.partition("/")[2]

    @property
    def units(self) -> str:
        """The unit in words, such as `bits a token`."""
        return f"{self.unit} {'an' if self.per[0] in 'aeiou' else 'a'} {self.per}" if self.per else self.unit

    @property
    def is_evaluated(self) -> bool:
        """Whether an evaluation measures it, so that every test set has its own value."""
        return self.split not in ("train", "progress", "cost", "system", "effect")


_ALL = (
    # Quality on the validation split.
    Metric("validation/nll", "nats", "token", "minimize", "cross-entropy of the target tokens, with teacher forcing",
           "objective", brief="nll {:.3f}", instead="validation/nll_per_char"),
    Metric("validation/nll_per_char", "nats", "character", "minimize",
           "the same cross-entropy over the characters of the targets; comparable across tokenizers", "objective"),
    Metric("validation/token_accuracy", "hits", "token", "maximize",
           "target tokens ranked first, with teacher forcing; in [0, 1]", "objective",
           instead="validation/exact_match"),
    Metric("validation/latent_gain", "nats", "token", "maximize",
           "rise of the cross-entropy with the latent of another sentence; near 0 if the latent is ignored",
           "objective", instead="validation/nll_per_char", when="an evaluation batch of two sentences or more"),
    Metric("validation/exact_match", "matches", "sentence", "maximize",
           "texts decoded greedily that equal their target up to white space; in [0, 1]",
           "objective", brief="exact {:.3f}", needs=_TEXTS, when=_DECODED),
    Metric("validation/bleu", "points", "", "maximize", "corpus BLEU of sacrebleu; in [0, 100]",
           "objective", brief="BLEU {:.1f}", needs=_TEXTS, when=_DECODED),
    Metric("validation/bleu1", "points", "sentence", "maximize",
           "mean sentence BLEU-1 on white-space tokens, the T5VQVAE paper's BLEU; in [0, 1]",
           "objective", needs=_TEXTS, when=_DECODED),
    Metric("validation/meaning_match", "answers", "sentence", "maximize",
           "decoded answers that mean the right one, over those that could be decided; in [0, 1]",
           "objective", brief="meaning {:.3f}", needs=_MEANING, when=_JUDGED),
    Metric("validation/meaning_undecided", "share", "sentence", "minimize",
           "decoded answers that could not be decided; in [0, 1]", "constraint", needs=_MEANING, when=_JUDGED),
    # The same on the twins of test sets that are out of distribution; see t5vqvae/evaluation/out_of_distribution.py.
    Metric("validation_ood/nll_per_char", "nats", "character", "minimize",
           "mean of that cross-entropy over the validation sets that are out of distribution",
           "objective", words="nll per character, out of distribution", needs=_OOD, when=_TWINS),
    Metric("validation_ood/exact_match", "matches", "sentence", "maximize",
           "mean of the exact match over these sets: it saturates, so it is no objective; in [0, 1]",
           "constraint", words="exact match, out of distribution", brief="ood {:.3f}", needs=_OOD, when=_TWINS),
    # Control: edits of codes with known answers; see t5vqvae/measures/control.py.
    Metric("control/local_intervention", "answers", "edit", "maximize",
           "edits of local factors whose decoded text is the right answer; in [0, 1]",
           "objective", words="control, local", brief="local {:.2f}", needs=_EDITS, when=_CONTROL),
    Metric("control/distributed_intervention", "answers", "edit", "maximize",
           "the same for factors that other words must follow (agreement, articles); in [0, 1]",
           "objective", words="control, distributed", brief="distributed {:.2f}", needs=_EDITS, when=_CONTROL),
    Metric("control/locality", "share", "edit", "maximize",
           "words outside the answer's changes that stayed, over edits that changed the text; in [0, 1]",
           "constraint", needs=_EDITS, when=_CHANGED),
    Metric("control/validity", "share", "edit", "maximize",
           "texts that the corpus's generator could have written, over edits that changed the text; in [0, 1]",
           "constraint", needs=_EDITS, when=_CHANGED),
    Metric("control/changed_share", "share", "edit", None, "edits that change the text; in [0, 1]",
           "constraint", needs=_EDITS, when=_CONTROL),
    Metric("control/exact_share", "share", "edit", None, "edits whose source and donor are reconstructed; in [0, 1]",
           "constraint", needs=_EDITS, when=_CONTROL),
    Metric("control/local_intervention_exact", "answers", "edit", "maximize",
           "local intervention where source and donor are reconstructed", needs=_EDITS, when=_RECONSTRUCTED),
    Metric("control/distributed_intervention_exact", "answers", "edit", "maximize",
           "distributed intervention where source and donor are reconstructed", needs=_EDITS, when=_RECONSTRUCTED),
    Metric("control/locality_exact", "share", "edit", "maximize",
           "locality where source and donor are reconstructed", needs=_EDITS, when=_RECONSTRUCTED),
    Metric("control/validity_exact", "share", "edit", "maximize",
           "validity where source and donor are reconstructed", needs=_EDITS, when=_RECONSTRUCTED),
    Metric("control/sparse_local_intervention", "answers", "edit", "maximize",
           "local intervention on sparse codes", "objective", needs=_EDITS, when=_SPARSE_EDITS),
    Metric("control/sparse_distributed_intervention", "answers", "edit", "maximize",
           "distributed intervention on sparse codes", "objective", needs=_EDITS, when=_SPARSE_EDITS),
    Metric("control/sparse_locality", "share", "edit", "maximize",
           "locality on sparse codes", "constraint", needs=_EDITS, when=_CHANGED),
    Metric("control/sparse_validity", "share", "edit", "maximize",
           "validity on sparse codes", "constraint", needs=_EDITS, when=_CHANGED),
    Metric("control/moved_local_intervention", "answers", "edit", "maximize",
           "local edits whose answer is printed in another order, after which the text means the answer; in [0, 1]",
           when=_PROBE),
    Metric("control/moved_distributed_intervention", "answers", "edit", "maximize",
           "the same of distributed factors; in [0, 1]", when=_PROBE),
    Metric("control/moved_printed", "answers", "edit", None,
           "all such edits, after which the text is the answer as it is printed", when=_PROBE),
    Metric("control/moved_undecided", "share", "edit", None,
           "all such edits, whose text can be evaluated at too few points; counted as wrong", when=_PROBE),
    # Sparse codes: only those that the decoder cannot do without.
    Metric("sparse/exact_match", "matches", "sentence", "maximize",
           "texts decoded from sparse codes that equal their target; in [0, 1]", "constraint", needs=_UNSENT,
           when=_SPARSE),
    Metric("sparse/nll_per_char", "nats", "character", "minimize",
           "cross-entropy of the targets given sparse codes", "constraint", needs=_UNSENT, when=_SPARSE),
    Metric("rate/sent_share", "share", "token", "minimize", "positions whose codes are sent; in (0, 1]",
           "constraint", needs=_UNSENT, when=_SPARSE),
    Metric("rate/sparse_joint_bits_per_token", "bits", "token", "minimize",
           "the joint rate of sparse codes, the mask included", "objective", words="joint rate of sparse codes",
           instead="rate/bits_per_sentence", needs=_UNSENT, when=_SPARSE),
    Metric("rate/sparse_prior_bits_per_token", "bits", "token", "minimize",
           "the same after the codes of the two positions before", "objective", words="sparse rate under a prior",
           instead="rate/bits_per_sentence", needs=_UNSENT, when=_SPARSE),
    # Use of the codes.
    Metric("codebook/perplexity", "codes", "", "maximize",
           "effective number of codes in use, in [1, K]; mean over the codebooks", "objective", when=_CODES),
    Metric("codebook/usage", "share", "", "maximize",
           "codes seen over those that could be seen, in [0, 1]; mean over the codebooks",
           "objective", brief="usage {:.2f}", when=_CODES),
    Metric("codebook/quantization_error", "1", "", "minimize",
           "squared distance of states to quantized states over the states' squares; above 1 is worse than the origin",
           "constraint", when="a quantizer with codes of encoder states"),
    Metric("prompts/perplexity", "codes", "", "maximize",
           "effective number of prompt codes in use; mean over their codebooks", when="prompts with codes"),
    # Rate.
    Metric(RATE, "bits", "token", "minimize",
           "sum of marginal entropies: an upper bound; of the codes a source token, those of prompts included",
           "objective", words="rate (upper bound), bits a token", brief="{:.2f} bits/token",
           instead="rate/bits_per_sentence", when=_BOTTLENECK),
    Metric(JOINT_RATE, "bits", "token", "minimize",
           "cross-entropy of the codes of a position under a chain counted on training codes, prompts' codes included",
           "objective", words="joint rate, bits a token", instead="rate/bits_per_sentence", when=_BOTTLENECK),
    Metric("rate/prior_bits_per_token", "bits", "token", "minimize",
           "the same after the codes of the two positions before: the rate with a small prior over codes",
           "objective", words="rate under a prior, bits a token", instead="rate/bits_per_sentence", when=_BOTTLENECK),
    Metric("rate/bits_per_sentence", "bits", "sentence", "minimize",
           "sum of marginal entropies a source sentence: an upper bound",
           "objective", when=_BOTTLENECK),
    Metric("rate/bits_per_char", "bits", "character", "minimize",
           "the upper bound over the characters of the targets; comparable across tokenizers",
           "objective", words="rate (upper bound), bits a character", when=_BOTTLENECK),
    Metric("rate/joint_bits_per_char", "bits", "character", "minimize",
           "the joint rate over the characters of the targets; comparable across tokenizers",
           "objective", words="joint rate, bits a character", when=_BOTTLENECK),
    Metric("rate/token_entropy_bits", "bits", "token", None,
           "entropy of the source tokens themselves: what a code for each token would need",
           words="entropy of the tokens, bits a token"),
    Metric("rate/log2_codes", "bits", "token", "minimize", "rate if all codes were equally frequent",
           "objective", instead="rate/bits_per_sentence", when=_BOTTLENECK),
    Metric("rate/log2_vocabulary", "bits", "token", None, "rate of the plain text if all tokens were equally frequent",
           "constraint"),
    Metric("rate/kl_bits_per_token", "bits", "token", "minimize", "KL divergence of a continuous latent from its prior",
           "objective", instead="rate/kl_bits_per_sentence", when=_GAUSSIAN),
    Metric("rate/kl_bits_per_sentence", "bits", "sentence", "minimize", "the same KL divergence a source sentence",
           "objective", when=_GAUSSIAN),
    # Measures of a probe.
    Metric("information/word", "bits", "word", "maximize",
           "mutual information of a word's code and the word, less its mean over shuffled codes", when=_PROBE),
    Metric("information/word_before", "bits", "word", None, "the same about the word before", when=_PROBE),
    Metric("information/word_after", "bits", "word", None, "the same about the word after", when=_PROBE),
    Metric("information/role", "bits", "word", None, "the same about the word's role", when=_PROBE),
    Metric("information/purity", "share", "word", None,
           "words that equal the most frequent word of their code; in (0, 1]", when=_PROBE),
    Metric("information/purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("information/inverse_purity", "share", "word", None,
           "words whose code is the most frequent code of that word; in (0, 1]", when=_PROBE),
    Metric("information/inverse_purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("information/homogeneity", "1", "", None,
           "1 if every code has one word, less its mean over shuffled codes", when=_PROBE),
    Metric("information/completeness", "1", "", None,
           "1 if every word has one code, less its mean over shuffled codes", when=_PROBE),
    Metric("information/v_measure", "1", "", None,
           "harmonic mean of homogeneity and completeness, less its mean over shuffled codes", when=_PROBE),
    Metric("information/v_measure_shuffled", "1", "", None, "that mean: the control", when=_PROBE),
    Metric("information/role_purity", "share", "word", None,
           "words whose role equals the most frequent role of their code; in (0, 1]", when=_PROBE),
    Metric("information/role_purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("information/role_inverse_purity", "share", "word", None,
           "words whose code is the most frequent code of their role; in (0, 1]", when=_PROBE),
    Metric("information/role_inverse_purity_shuffled", "share", "word", None,
           "the same with shuffled codes: the control", when=_PROBE),
    Metric("information/role_homogeneity", "1", "", None,
           "1 if every code has one role, less its mean over shuffled codes", when=_PROBE),
    Metric("information/role_completeness", "1", "", None,
           "1 if every role has one code, less its mean over shuffled codes", when=_PROBE),
    Metric("information/role_v_measure", "1", "", None,
           "harmonic mean of homogeneity and completeness, less its mean over shuffled codes", when=_PROBE),
    Metric("information/role_v_measure_shuffled", "1", "", None, "that mean: the control", when=_PROBE),
    Metric("information/operator", "bits", "token", None,
           "mutual information of a token's code and its operator in mathematics, less its mean over shuffled codes",
           when=_PROBE),
    Metric("information/operator_purity", "share", "token", None,
           "tokens whose operator equals the most frequent operator of their code; in (0, 1]", when=_PROBE),
    Metric("information/operator_purity_shuffled", "share", "token", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("information/operator_inverse_purity", "share", "token", None,
           "tokens whose code is the most frequent code of their operator; in (0, 1]", when=_PROBE),
    Metric("information/operator_inverse_purity_shuffled", "share", "token", None,
           "the same with shuffled codes: the control", when=_PROBE),
    Metric("information/operator_homogeneity", "1", "", None,
           "1 if every code has one operator, less its mean over shuffled codes", when=_PROBE),
    Metric("information/operator_completeness", "1", "", None,
           "1 if every operator has one code, less its mean over shuffled codes", when=_PROBE),
    Metric("information/operator_v_measure", "1", "", None,
           "harmonic mean of homogeneity and completeness, less its mean over shuffled codes", when=_PROBE),
    Metric("information/operator_v_measure_shuffled", "1", "", None, "that mean: the control", when=_PROBE),
    Metric("examples/splice_copied", "share", "edit", "maximize",
           "words of another sentence that take a word's place as they are, all other words staying; in [0, 1]",
           when=_PROBE),
    Metric("examples/swap_locality", "share", "edit", "maximize",
           "other words that stay when one code takes a near value and the text changes; in [0, 1]", when=_PROBE),
    Metric("labels/information", "bits", "word", "maximize",
           "mutual information of a word's code and its label in a file, less its mean over shuffled codes",
           when=_LABELS),
    Metric("labels/entropy", "bits", "word", None, "entropy of the labels of words in a file", when=_LABELS),
    Metric("labels/purity", "share", "word", None,
           "words whose label equals the most frequent label of their code; in (0, 1]", when=_LABELS),
    Metric("labels/purity_shuffled", "share", "word", None, "the same with shuffled codes: the control", when=_LABELS),
    Metric("labels/inverse_purity", "share", "word", None,
           "words whose code is the most frequent code of their label; in (0, 1]", when=_LABELS),
    Metric("labels/inverse_purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_LABELS),
    Metric("labels/homogeneity", "1", "", None,
           "1 if every code has one label, less its mean over shuffled codes", when=_LABELS),
    Metric("labels/completeness", "1", "", None,
           "1 if every label has one code, less its mean over shuffled codes", when=_LABELS),
    Metric("labels/v_measure", "1", "", None,
           "harmonic mean of homogeneity and completeness, less its mean over shuffled codes", when=_LABELS),
    Metric("labels/v_measure_shuffled", "1", "", None, "that mean: the control", when=_LABELS),
    Metric("smoothness/frechet", "1", "", "minimize",
           "Frechet distance of sentences on paths and of the corpus, in the states of a frozen encoder",
           when=_ENCODER),
    Metric("smoothness/perceptual_length", "1", "path", "minimize",
           "squared change of a frozen encoder's state per squared step of a path, mean", when=_ENCODER),
    Metric("latent_use/swapped", "nats", "character", "maximize",
           "rise of the cross-entropy with another sentence's memory", when=_PROBE),
    Metric("latent_use/reordered", "nats", "character", None,
           "rise of the cross-entropy with the memory's positions in a random order", when=_PROBE),
    Metric("latent_use/zeroed", "nats", "character", "maximize",
           "rise of the cross-entropy with a memory of zeros", when=_PROBE),
    Metric("disentanglement/mig", "1", "", "maximize",
           "mutual information gap of the codes of roles, shuffled values subtracted; in [0, 1]", when=_PROBE),
    Metric("disentanglement/infom", "1", "", "maximize", "modularity: each code says one factor; in [0, 1]",
           when=_PROBE),
    Metric("disentanglement/infoc", "1", "", "maximize", "compactness: each factor is in one code; in [0, 1]",
           when=_PROBE),
    Metric("disentanglement/dci_disentanglement", "1", "", "maximize",
           "DCI: each latent says one factor, weighted by importance; in [0, 1]", when=_PROBE),
    Metric("disentanglement/dci_completeness", "1", "", "maximize",
           "DCI: each factor is in one latent, weighted by importance; in [0, 1]", when=_PROBE),
    Metric("disentanglement/dci_informativeness", "share", "", "maximize",
           "DCI: factors that a forest predicts rightly from all latents; in [0, 1]", when=_PROBE),
    Metric("disentanglement/dci_informativeness_shuffled", "share", "", None,
           "the same with shuffled latents: the control", when=_PROBE),
    Metric("disentanglement/infoe", "1", "", "maximize",
           "explicitness: entropy of factors that a linear model takes away; in [0, 1]", when=_PROBE),
    Metric("disentanglement/infoe_shuffled", "1", "", None, "the same with shuffled latents: the control", when=_PROBE),
    Metric("disentanglement/sap", "1", "", "maximize",
           "gap of the two best latents in predicting a factor linearly; in [0, 1]", when=_PROBE),
    Metric("disentanglement/sap_shuffled", "1", "", None, "the same with shuffled latents: the control", when=_PROBE),
    Metric("disentanglement/z_diff", "share", "", "maximize",
           "points whose fixed factor shows in what stays alike; near 1 for many models", when=_PROBE),
    Metric("disentanglement/z_diff_shuffled", "share", "", None, "the same with shuffled latents: the control",
           when=_PROBE),
    Metric("splice/substitution", "answers", "edit", "maximize",
           "phrases of a donor that come out in place of the source's, and nothing else changes; in [0, 1]",
           when=_PROBE),
    Metric("splice/specification", "answers", "edit", "maximize",
           "modifiers of a donor that come out before the source's noun; in [0, 1]", when=_PROBE),
    Metric("splice/conjunction", "answers", "edit", "maximize",
           "predicates of a donor that come out behind the source and 'and'; in [0, 1]", when=_PROBE),
    Metric("splice/unchanged_share", "share", "edit", None, "splices that leave the text as it was", when=_PROBE),
    Metric("traversal/precision", "swaps", "edit", "maximize",
           "swaps of a code by a near one that change the words of its role alone, to a valid text; in [0, 1]",
           when=_PROBE),
    Metric("traversal/precision_random", "swaps", "edit", None, "the same by a random code in use: the control",
           when=_PROBE),
    Metric("traversal/changed_share", "share", "edit", None, "swaps by a near code that change the text", when=_PROBE),
    Metric("codebook/dead_share", "share", "", None,
           "codes that the probed sentences do not use, over K; mean over the codebooks", when=_PROBE),
    Metric("codebook/cosine", "1", "", None, "mean cosine of different code vectors in use; in [-1, 1]", when=_PROBE),
    Metric("codebook/cosine_weighted", "1", "", None, "the same, frequent codes counting for more", when=_PROBE),
    Metric("codebook/effective_rank", "1", "", None, "directions that the code vectors in use span", when=_PROBE),
    Metric("codebook/effective_rank_shuffled", "1", "", None, "the same with shuffled columns: the control",
           when=_PROBE),
    Metric("drift/codes_changed", "share", "token", None,
           "tokens of which a code is another one than at the earlier checkpoint; in [0, 1]", when=_EARLIER),
    Metric("drift/codes_changed_shuffled", "share", "token", None,
           "the same with the earlier codes in a random order: the control", when=_EARLIER),
    Metric("drift/cosine", "1", "", None,
           "mean cosine of an entry in use at the earlier checkpoint and now; in [-1, 1]", when=_EARLIER),
    Metric("drift/cosine_shuffled", "1", "", None,
           "the same with the earlier entries in a random order: the control", when=_EARLIER),
    Metric("drift/distance", "1", "", None,
           "mean distance that entries in use moved, over their mean length at the earlier checkpoint", when=_EARLIER),
    Metric("drift/distance_shuffled", "1", "", None,
           "the same with the earlier entries in a random order: the control", when=_EARLIER),
    Metric("codebook/map_explained", "share", "", None, "variance of the code vectors in use that the map shows",
           when=_PROBE),
    Metric("codebook/sensitivity", "1", "", "maximize",
           "rank correlation of the similarity of codes with that of texts, over minimal pairs; in [-1, 1]",
           when=_PROBE),
    Metric("codebook/sensitivity_shuffled", "1", "", None, "the same with shuffled pairs: the control", when=_PROBE),
    Metric("codebook/soft_gap", "nats", "character", "minimize",
           "rise of the cross-entropy from a quantizer's continuous form to its codes", when=_PROBE),
    Metric("prefix/word_purity", "share", "word", None, "words that equal the most frequent word of their first code",
           when=_PROBE),
    Metric("prefix/word_purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("prefix/role_purity", "share", "word", None, "roles that equal the most frequent role of their first code",
           when=_PROBE),
    Metric("prefix/role_purity_shuffled", "share", "word", None, "the same with shuffled codes: the control",
           when=_PROBE),
    Metric("order/distance", "1", "", "maximize",
           "rank correlation of the distance of codes along a curve with that of their vectors; in [-1, 1]",
           when=_PROBE),
    Metric("order/distance_shuffled", "1", "", None, "the same with the codes dealt anew: the control", when=_PROBE),
    Metric("order/text", "1", "", "maximize",
           "rank correlation of a code's move along a curve with the change of the text; in [-1, 1]", when=_PROBE),
    Metric("readout/role_accuracy", "share", "token", "maximize",
           "roles that a linear model reads from frozen latents; in [0, 1]", when=_PROBE),
    Metric("readout/role_control", "share", "token", None, "the same with random labels of tokens: a control task",
           when=_PROBE),
    Metric("readout/role_shuffled", "share", "token", None, "the same with shuffled latents: the control", when=_PROBE),
    Metric("readout/template_accuracy", "share", "sentence", "maximize",
           "templates that a linear model reads from the mean of a sentence's latents; in [0, 1]", when=_PROBE),
    Metric("readout/template_control", "share", "sentence", None, "the same with random labels of sentences",
           when=_PROBE),
    Metric("readout/template_shuffled", "share", "sentence", None, "the same with shuffled latents: the control",
           when=_PROBE),
    Metric("attention/aligned", "share", "token", None,
           "cross-attention on the position of the token that is written; mean over heads", when=_PROBE),
    Metric("attention/aligned_best", "share", "token", None, "the same of the head with most", when=_PROBE),
    Metric("attention/uniform", "share", "token", None, "the same of uniform attention: the control", when=_PROBE),
    Metric("attention/end", "share", "token", None, "cross-attention on the end of the text", when=_PROBE),
    Metric("attention/prompts", "share", "token", None, "cross-attention on prompts", when=_PROBE),
    Metric("concepts/removal", "nats", "character", "maximize",
           "rise of the cross-entropy when the direction of a role is removed; mean over roles", when=_PROBE),
    Metric("concepts/removal_random", "nats", "character", None, "the same of a random direction: the control",
           when=_PROBE),
    Metric("smoothness/mean", "1", "", "maximize",
           "interpolation smoothness of the paths that count; in (0, 1]", when=_PROBE),
    Metric("smoothness/mean_or_zero", "1", "", "maximize",
           "the same over all paths, those that do not count as 0; in [0, 1]", when=_PROBE),
    Metric("smoothness/counting_share", "share", "path", "maximize",
           "paths of at least 5 sentences without a step above half of the way", when=_PROBE),
    Metric("smoothness/undefined_share", "share", "path", None, "paths that never move, or without a known word",
           when=_PROBE),
    Metric("smoothness/length_changes", "share", "path", None, "paths whose ends differ in length", when=_PROBE),
    # Measures of single baselines.
    Metric("adversary/score", "probability", "sentence", None,
           "the discriminator's belief that a latent is from the prior; 1/2 if it cannot tell",
           when="an adversarial autoencoder"),
    Metric("cross_layer/unexplained", "share", "", "minimize", "share of the upper layer's variance left unexplained",
           when="model.name=cross_layer"),
    Metric("faithfulness/salient", "nats", "token", "maximize",
           "rise of the cross-entropy when the direction of the salient code is removed", "objective",
           instead="validation/nll_per_char", when="model.faithfulness_steps is set"),
    Metric("faithfulness/random", "nats", "token", None, "the same rise for a random direction: the control",
           when="model.faithfulness_steps is set"),
    # Training.
    Metric("train/loss", "nats", "token", "minimize", "cross-entropy and weighted loss terms of the last batch",
           weighted=True),
    Metric("train/nll", "nats", "token", "minimize", "cross-entropy of the last batch", "constraint"),
    Metric("train/aux_loss", "1", "", "minimize", "weighted loss terms of the last batch", weighted=True),
    Metric("train/grad_norm", "1", "", None, "norm of the gradient of the last batch before clipping", "constraint"),
    Metric("train/learning_rate", "1", "", None, "learning rate of the last step"),
    Metric(STEP, "steps", "", None, "optimizer steps done"),
    Metric("progress/tokens", "tokens", "", None, "target tokens seen"),
    Metric("progress/epoch", "epochs", "", None, "passes over the training split done"),
    Metric("progress/stage", "stages", "", None, "1 while two-stage training learns the auto-encoder, then 2",
           when=_STAGED),
    Metric("progress/fraction", "share", "", None, "steps done over train.max_steps; in [0, 1]"),
    # Costs.
    Metric(STEP_SECONDS, "s", "step", "minimize", "wall time of a step, mean since the last evaluation",
           "objective", words="time, s a step"),
    Metric("cost/peak_memory_mb", "MB", "", "minimize",
           "on a GPU the peak of tensors, on a CPU the resident memory of the process", "objective",
           words="memory, MB"),
    Metric("cost/parameters", "parameters", "", "minimize", "parameters of the model, frozen ones included",
           "objective"),
    Metric("cost/reserved_memory_mb", "MB", "", "minimize", "peak that the allocator took from the GPU", when=_CUDA),
    Metric("cost/outside_memory_mb", "MB", "", "minimize", "memory of the GPU used outside the allocator", when=_CUDA),
    Metric("cost/device_memory_mb", "MB", "", None, "memory of the GPU as a whole", when=_CUDA),
    Metric(GPUS, "GPUs", "", "minimize", "GPUs, or the share of one, that the run holds", when=_CUDA),
    # The machine, under MLflow's own names.
    Metric("system/cpu_utilization_percentage", "%", "", None, "use of all cores", when=_TRACKED),
    Metric("system/system_memory_usage_megabytes", "MB", "", None, "memory of the machine in use", when=_TRACKED),
    Metric("system/system_memory_usage_percentage", "%", "", None, "share of its memory in use", when=_TRACKED),
    Metric("system/process_cpu_percentage", "%", "", None, "use of one core by the process", when=_TRACKED),
    Metric("system/process_memory_megabytes", "MB", "", None, "resident memory of the process", when=_TRACKED),
    Metric("system/gpu_*_memory_usage_megabytes", "MB", "", None, "memory of the GPU in use", when=_CUDA),
    Metric("system/gpu_*_memory_usage_percentage", "%", "", None, "share of the GPU's memory in use", when=_CUDA),
    Metric("system/gpu_*_utilization_percentage", "%", "", None, "share of time in which the GPU works", when=_CUDA),
    # The parent run of an ablation.
    Metric("effect/*", "the objective's", "", None, "an arm's mean difference from the baseline", when="an ablation"),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.key: metric for metric in _ALL}
"""Every metric by its key."""

FAMILIES = {
    "test": "the metrics of an evaluation on the test split",
    "[A-Z][A-Z0-9_]*": "the same on a further test set of the corpus, such as `VAR/nll`",
    "gate": "the same on the sentences by which a promotion decides",
    "test_ood": "the mean over the test sets that have a twin, as `validation_ood` is over the twins",
    "soft": "the quality of a quantizer's continuous form, whose rate has no bound",
    "tokens": "a second series in MLflow, against target tokens instead of steps",
    "probe": "the metrics of a probe, in the model's run",
    "best": "the metrics of a search's best trial, in the parent run",
}
"""First parts, as patterns, that repeat other metrics: `test/nll` is `validation/nll` on the test split."""


def find(key: str) -> Metric | None:
    """Returns the metric of a key, also of one that repeats it under the first part of a family; None if unknown."""
    if key in METRICS:
        return METRICS[key]
    split, _, name = key.partition("/")
    if any(re.fullmatch(family, split) for family in FAMILIES):
        return find(f"validation/{name}") or find(name)
    return next((metric for metric in _ALL if "*" in metric.key and fnmatchcase(key, metric.key)), None)


def label(key: str) -> str:
    """Returns the name that people read of a metric; of an unknown one, its key without the split."""
    metric = find(key)
    return key.split("/", 1)[-1] if metric is None else metric.label


def common_rate(*sides: Mapping[str, float], test: str = "") -> tuple[str, str] | None:
    """Returns the key of the tightest rate that all sides have, and its kind in words; None if they share none.

    Args:
        sides: Metrics of the runs that are shown together.
        test: The test set whose rate is wanted; empty: that of the validation split.
    """
    kinds = {JOINT_RATE: "joint rate", RATE: "upper bound"}
    keys = {f"{test}/{rate}" if test else rate: kind for rate, kind in kinds.items()}
    return next(((key, kind) for key, kind in keys.items() if sides and all(key in side for side in sides)), None)


def is_on_test(key: str) -> bool:
    """Returns whether a key is measured on a test set."""
    return re.match(r"(test|test_ood|[A-Z][A-Z0-9_]*)/", key) is not None


def on_test(key: str) -> str:
    """Returns the test split's counterpart of a metric; a metric that no evaluation measures stays as it is."""
    metric = METRICS.get(key)
    if metric is None or not metric.is_evaluated:
        return key
    split, _, name = key.partition("/")
    return f"test_ood/{name}" if split == "validation_ood" else f"test/{key.removeprefix('validation/')}"


def on_gate(key: str) -> str:
    """Returns the counterpart of a metric on the sentences by which a promotion decides; see `on_test`.

    Of a further test set it is `gate/VAR/nll`, for `VAR/nll` and for `test/VAR/nll`.
    """
    tested = on_test(key)
    return (
        f"gate/{tested.removeprefix('test/')}" if is_on_test(tested) and not tested.startswith("test_ood") else tested
    )


def tracked(key: str) -> str:
    """Returns the key of a metric in MLflow, where `test/` stands before every test set.

    Runs of earlier versions have `VAR/nll` there; `find` reads both.
    """
    return f"test/{key}" if is_on_test(key) and not key.startswith("test") else key


def metrics_of(report: Mapping[str, object]) -> dict[str, float]:
    """Returns the metrics of a flat report: its numbers under keys that read `split/name`.

    Ray Tune adds numbers under plain names and repeats the configuration under `config/`; both are left out.
    """
    return {
        key: float(value)
        for key, value in report.items()
        if "/" in key
        and not key.startswith("config/")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }
