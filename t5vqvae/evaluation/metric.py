"""One metric of the project, the keys that code names, and the conditions under which metrics exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

Direction = Literal["minimize", "maximize"]
Per = Literal["token", "word", "character", "sentence", "edit", "path", "step", ""]
Role = Literal["objective", "constraint", "record"]

RATE = "rate/bits_per_token"
"""Every run with a bottleneck has this metric; a run without it is a control, whose latent leaks."""
JOINT_RATE = "rate/joint_bits_per_token"
"""The rate to bound: codebooks that repeat each other count once. Runs of earlier versions lack it."""
TOKEN_ENTROPY = "rate/token_entropy_bits"
"""Shown next to a rate: codes with as many bits may only name the tokens."""
STEP = "progress/step"
STEP_SECONDS = "cost/step_seconds"
GPUS = "cost/gpus"
PRICES = (RATE, JOINT_RATE, STEP_SECONDS, "cost/peak_memory_mb", "cost/parameters")
"""Shown with every effect on quality: a quality says nothing without its price."""

TEXTS = "evaluate.num_generated"
EDITS = "evaluate.control"
UNSENT = "evaluate.unsent"
OOD = "data.ood"
MEANING = "evaluate.meaning"
REMOVAL = "model.faithfulness_steps"
PRIOR = "model.kl_weight"


@dataclass(frozen=True)
class Need:
    """What a metric is not measured without.

    Attributes:
        what: What is missing while the setting is off.
        off: The value of the setting that means off; a model without the setting does not have it either.
        way_out: What to do.
    """

    what: str
    off: object
    way_out: str

    def is_met(self, run: object, path: str) -> bool:
        """Returns whether a run's spec has the setting `path`, and it is not off."""
        try:
            return bool(attrgetter(path)(run) != self.off)
        except AttributeError:
            return False


NEEDS: Mapping[str, Need] = {
    TEXTS: Need("decoded text", 0, f"set {TEXTS} to more than 0"),
    EDITS: Need("edits of codes", 0, f"set {EDITS} to more than 0"),
    UNSENT: Need("sparse codes", None, f"set {UNSENT} to more than 0"),
    OOD: Need("validation sets that are out of distribution", 0, f"set {OOD} to more than 0"),
    MEANING: Need("answers judged by meaning", False, f"set {MEANING} to true"),
    REMOVAL: Need("a removal test", None, f"set {REMOVAL}, such as 8, of model.name=cross_layer"),
    PRIOR: Need("a Gaussian latent", None, "set model.name to gaussian or optimus, and quantizer.name to none"),
}
"""The settings that metrics need."""
DECODED = f"{TEXTS} is not 0"
CONTROL = f"{EDITS} is not 0"
PROBE = "a probe"
LABELS = "a probe with labels"
ENCODER = "a probe with a frozen encoder"
EARLIER = "a probe with an earlier checkpoint"
SPARSE = f"{UNSENT} is set"
SPARSE_EDITS = f"{UNSENT} is set, and {EDITS} is not 0"
TWINS = f"{OOD} is not 0"
REMOVED = f"{REMOVAL} is set"
JUDGED = f"{MEANING} is true, and {TEXTS} is not 0"
STAGED = "train.autoencode_steps is not 0"
CHANGED = "edits that change the text"
RECONSTRUCTED = "edits of sentences that the model reconstructs"
CODES = "a quantizer with codes"
BOTTLENECK = "a bottleneck of codes with nothing that leaks past it"
GAUSSIAN = "a Gaussian latent"
CUDA = "a GPU"
TRACKED = "a run that is tracked"


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
        needs: The settings without any of which it is not measured, such as `evaluate.num_generated`.
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
    needs: tuple[str, ...] = ()
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
