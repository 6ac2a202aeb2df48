"""The spec of one run: everything that decides its result, and the run id that follows from it.

`train(RunSpec)` yields the run's milestones. Order of settings: the defaults here < a study file (YAML) < the command
line; the resolved spec is saved with the run. A setting that cannot change a result is declared `result=False` and
stays out of the run id.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from t5vqvae.config import Config, setting
from t5vqvae.data import DataConfig
from t5vqvae.errors import SettingError
from t5vqvae.files import content_sha256
from t5vqvae.quantizers import EMAConfig, QuantizerConfig
from t5vqvae.spec.architectures import DRAWN_POSITIONS, ModelConfig, T5VQVAESettings
from t5vqvae.spec.training import EvaluateConfig, OptimConfig, TrainConfig

LOADED = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Endings of the files of a backbone's folder that are loaded: config, weights, tokenizer."""

if TYPE_CHECKING:
    AnyModel = ModelConfig
    AnyQuantizer = QuantizerConfig
else:
    AnyModel = ModelConfig.any()
    AnyQuantizer = QuantizerConfig.any()


class RunSpec(Config):
    """One training run: its data, model, quantizer, optimization and evaluation."""

    seed: int = setting(0, ge=0, description="seed of initial weights, data order and every random choice")
    data: DataConfig = Field(default_factory=DataConfig)
    model: AnyModel = Field(default_factory=T5VQVAESettings)
    quantizer: AnyQuantizer = Field(default_factory=EMAConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    @model_validator(mode="after")
    def _one_bottleneck(self) -> Self:
        if self.model.own_bottleneck and self.quantizer.name != "none":
            raise SettingError(
                f"quantizer.name={self.quantizer.name} cannot be used with model.name={self.model.name}, which has"
                " its own bottleneck; set quantizer.name=none"
            )
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        """Refuses micro-batches that would change a loss term."""
        # Micro-batches stay out of the run id, as workers do, so they must not change a result.
        weights = self.quantizer.batch_terms
        if self.train.microbatches > 1 and weights:
            term = f"quantizer.{weights[0]}={getattr(self.quantizer, weights[0])}"
            raise SettingError(
                f"train.microbatches={self.train.microbatches} would change the loss term of {term}, which is computed"
                " over the whole batch; take a smaller train.batch_size or more workers"
            )
        return self

    @model_validator(mode="after")
    def _can_be_sparse(self) -> Self:
        for name in ("code_dropout", "code_swap", "word_shuffle", "rate_price"):
            value = getattr(self.train, name)
            if value and (self.model.name != "t5vqvae" or self.quantizer.name == "none"):
                raise SettingError(
                    f"train.{name}={value} needs codes of model.name=t5vqvae, not"
                    f" model.name={self.model.name} with quantizer.name={self.quantizer.name}; leave it out"
                )
        if self.train.gate_price is not None and not self.train.code_dropout:
            raise SettingError(
                f"train.gate_price={self.train.gate_price} needs an entry for what is not sent; set"
                " train.code_dropout, such as 0.6, or leave train.gate_price out"
            )
        if getattr(self.model, "not_sent", "replaced") == "removed":
            if not self.train.code_dropout:
                raise SettingError(
                    "model.not_sent=removed needs codes that are not sent; set train.code_dropout, such as 0.6, or"
                    " leave model.not_sent out"
                )
            if self.train.gate_price is not None:
                raise SettingError(
                    f"train.gate_price={self.train.gate_price} mixes codes with the entry that model.not_sent=removed"
                    " lacks; take model.not_sent=replaced, or leave train.gate_price out"
                )
        noisy = self.train.code_dropout or self.train.code_swap or self.train.word_shuffle
        if self.train.noise_steps and not noisy:
            raise SettingError(
                f"train.noise_steps={self.train.noise_steps} has nothing that grows; set train.code_dropout,"
                " train.code_swap or train.word_shuffle"
            )
        if self.evaluate.unsent is not None and not self.train.code_dropout:
            raise SettingError(
                f"evaluate.unsent={self.evaluate.unsent} needs a model that was trained without some codes; set"
                " train.code_dropout, such as 0.6"
            )
        if self.evaluate.unsent is not None and self.evaluate.num_generated == 0:
            raise SettingError(
                f"evaluate.unsent={self.evaluate.unsent} needs sentences whose sparse codes are decoded; set"
                " evaluate.num_generated, or leave evaluate.unsent out"
            )
        return self

    @model_validator(mode="after")
    def _has_what_it_prices_and_swaps(self) -> Self:
        train, sentences = self.train, 2 * self.train.num_workers * self.train.microbatches
        if train.rate_price is not None and not self.quantizer.chooses_nearest:
            raise SettingError(
                f"train.rate_price={train.rate_price} draws states to entries by their distance, so it needs codes that"
                f" are the nearest entries of a table, unlike quantizer.name={self.quantizer.name} here; take"
                " quantizer.name=ema, with quantizer.distance=euclidean and quantizer.selection=nearest"
            )
        if train.code_swap and train.batch_size < sentences:
            raise SettingError(
                f"train.code_swap={train.code_swap} takes codes of another sentence of the micro-batch; set"
                f" train.batch_size to at least {sentences}"
            )
        return self

    @model_validator(mode="after")
    def _has_edits(self) -> Self:
        if self.evaluate.control:
            self.data.corpus.require_edits()
        return self

    @model_validator(mode="after")
    def _has_meaning(self) -> Self:
        if self.evaluate.meaning and not self.data.corpus.has_meaning:
            raise SettingError(
                f"evaluate.meaning=true needs answers that have a meaning, as those of math;"
                f" data.corpus.name={self.data.corpus.name} has none, so leave it out"
            )
        return self

    @model_validator(mode="after")
    def _can_have_two_stages(self) -> Self:
        steps, model = self.train.autoencode_steps, self.model
        if not steps and self.data.extra_text is not None:
            raise SettingError(
                f"data.extra_text={self.data.extra_text!r} is read in the first of two stages, which gives back its"
                " sentences; set train.autoencode_steps, such as 300, or leave it out"
            )
        if not steps:
            return self
        if model.name != "t5vqvae":
            raise SettingError(
                f"train.autoencode_steps={steps} is for model.name=t5vqvae, not {model.name}; leave it out"
            )
        assert isinstance(model, T5VQVAESettings)
        if model.position is None or (model.backbone is None and model.position == model.num_layers):
            raise SettingError(
                f"train.autoencode_steps={steps} needs encoder blocks behind the quantizer, which learn the task; set"
                f" model.position, {model.position} here, to less than the encoder's blocks"
            )
        if model.prompts is not None:
            raise SettingError(
                f"train.autoencode_steps={steps} freezes the codes, and model.prompts would go around them; leave one"
                " of them out"
            )
        return self

    @model_validator(mode="after")
    def _has_positions(self) -> Self:
        drawn, longest = getattr(self.model, "cross_positions", None), self.data.longest
        span = getattr(self.model, "position_range", longest)
        if drawn in DRAWN_POSITIONS and getattr(self.model, "prompts", None) is not None:
            raise SettingError(
                f"model.cross_positions={drawn} draws the positions of a text's tokens, and model.prompts stand before"
                " them; leave one of them out"
            )
        if drawn in DRAWN_POSITIONS and getattr(self.model, "not_sent", "replaced") == "removed":
            raise SettingError(
                f"model.cross_positions={drawn} gives a text as many positions as it has codes, and"
                " model.not_sent=removed takes codes away; take absolute or relative"
            )
        if drawn in DRAWN_POSITIONS and span < longest:
            raise SettingError(
                f"model.position_range={span} has fewer positions than a text can have tokens, {longest}"
                " (data.max_length or data.max_target_length); raise it"
            )
        return self

    @property
    def max_new_tokens(self) -> int:
        """Tokens after which decoding stops."""
        return self.evaluate.max_new_tokens or self.data.max_target_length or self.data.max_length

    def run_id(self, data_fingerprint: str, precision: str) -> str:
        """Returns 16 hex digits that identify the result: runs of one id have the same; on a GPU, up to rounding.

        Args:
            data_fingerprint: `PreparedData.fingerprint`, the hash of the corpus's content.
            precision: The resolved precision, `float32` or `bfloat16`.
        """
        settings, source = self.as_dict(only_results=True), _source_fingerprint()
        return self._hashed({"spec": settings, "data": data_fingerprint, "precision": precision, "source": source})

    def settings_id(self, data_fingerprint: str, precision: str) -> str:
        """Returns 16 hex digits that identify settings, data and precision, whatever the version of this package.

        The arguments are those of `run_id`. Settings at their defaults do not count, so that a new one changes nothing.
        """
        settings = _chosen(self, self.as_dict(only_results=True))
        versions = {"defaults": DEFAULTS_VERSION, **self.versions_of_measures()}
        return self._hashed({**versions, "settings": settings, "data": data_fingerprint, "precision": precision})

    def versions_of_measures(self) -> dict[str, int]:
        """Returns the version of everything measured in its evaluations that has meant something else before."""
        evaluate = self.evaluate
        measured = {
            "sparse": evaluate.unsent is not None,
            "disentanglement": "disentanglement" in evaluate.probe,
            "words of expressions": self.data.corpus.default_tokenizer == "latex"
            and (evaluate.control > 0 or not {"traversal", "information"}.isdisjoint(evaluate.probe)),
            "sensitivity of expressions": self.data.corpus.default_tokenizer == "latex"
            and "sensitivity" in evaluate.probe,
            "rates": self.data.augment.is_on,
            "meaning": evaluate.meaning,
            "smoothness": "smoothness" in evaluate.probe,
            "two texts": self.data.corpus.gives_pairs and bool(evaluate.probe),
        }
        return {name: MEASURE_VERSIONS[name] for name, is_measured in measured.items() if is_measured}

    def _hashed(self, identity: dict[str, object]) -> str:
        """Returns 16 hex digits of what identifies a result, the backbone's weights included."""
        if backbone := backbone_fingerprint(self.model.backbone):
            identity["backbone"] = backbone
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


DEFAULTS_VERSION = 1
"""Raise it with every change of a default: settings ids do not say what is at its default."""
MEASURE_VERSIONS = {
    "sparse": 3,
    "disentanglement": 2,
    "words of expressions": 2,
    "sensitivity of expressions": 2,
    "rates": 2,
    "meaning": 2,
    "smoothness": 2,
    "two texts": 2,
}
"""Raise one with every change of what is measured. Sparse codes, 2: edited words are sent, and an end is counted, 3: an
edit is judged next to the text of the sparse codes without it; disentanglement, 2: what shuffles could show is nothing;
words of expressions (and sensitivity), 2: their tokens, and not what stands between spaces; rates, 2: joint ones and
those under a prior are counted on rows of the corpus alone, and not on those that `data.augment` adds; meaning, 2:
beside the cut of powers with a negative base, and what is too small for a float is undecided; smoothness, 2: lengths
are counted in tokens; two texts, 2: probes encode them as training does."""


def no_premises(spec: RunSpec) -> SettingError:
    """Returns the refusal of separate premises where every source is one text."""
    return SettingError(
        "model.premises=separate needs sources of two texts, as entailment has and syllogisms with"
        f" data.corpus.two_texts=true; data.corpus.name={spec.data.corpus.name} gives one here, so leave it out"
    )


def _chosen(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values that differ from the defaults of their section, and the names of variants."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        own, default = getattr(config, name), type(config).model_fields[name].get_default(call_default_factory=True)
        if isinstance(own, Config):
            found[name] = _chosen(own, value)
        elif name == "name" or own != default:
            found[name] = value
    return found


def backbone_fingerprint(backbone: str | None) -> str | None:
    """Returns a hash over the content of a local backbone's files; None without one, and for a name on the hub."""
    folder = None if backbone is None else Path(backbone)
    if folder is None or not folder.is_dir():
        return None
    return content_sha256(file for file in sorted(folder.iterdir()) if file.suffix in LOADED and file.is_file())


@cache
def _source_fingerprint() -> str:
    """Returns a hash over this package's source files, so that a changed trainer gets new run ids."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
