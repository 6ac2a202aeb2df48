"""The parts of a run that can be switched off, and how: what leave-one-out leaves out.

Every optional setting of a run spec (one that may be null, a switch, or a weight) is either a part in `PARTS`, with the
value that switches it off, or in `KEPT`, with the reason why it is none. A test holds that, so a new setting has to
be decided here. Other parts (a start, an estimator) are named in `PARTS` as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from t5vqvae.config import Config
from t5vqvae.config.base import leaf_types
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec


@dataclass(frozen=True)
class Part:
    """How one part of a run is switched off.

    Attributes:
        off: The setting's value without it.
        what: The part in words.
        when: Settings that must hold for it to be a part at all; `{path: value}`.
        label: Its short name; None: the last component of its path.
    """

    off: Any
    what: str
    when: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None


@dataclass(frozen=True)
class Component:
    """A part that a run has switched on.

    Attributes:
        path: Its setting.
        part: How it is switched off.
        overrides: What switches it off and leaves the rest as it is.
    """

    path: str
    part: Part
    overrides: Mapping[str, Any]


PARTS: dict[str, Part] = {
    "model.cross_positions": Part("none", "positions in cross-attention"),
    "model.dropout": Part(0.0, "dropout"),
    "model.prompts": Part(None, "the prompts"),
    "model.prompts.consistency_weight": Part(0.0, "the consistency term of the prompts"),
    "model.prompts.quantize": Part(False, "the quantization of the prompts", label="quantized prompts"),
    "model.kl_weight": Part(0.0, "the KL term"),
    "model.free_bits": Part(None, "free bits"),
    "model.latent_in_embeddings": Part(False, "the latent in the decoder's embeddings"),
    "model.adversarial_weight": Part(0.0, "the adversarial term"),
    "model.log_variance_weight": Part(0.0, "the noise that LAAE keeps alive"),
    "quantizer.name": Part("vq", "the moving averages (against gradients)", {"quantizer.name": "ema"}, "averages"),
    "quantizer.commitment_weight": Part(0.0, "the commitment term"),
    "quantizer.codebook_weight": Part(0.0, "the codebook term"),
    "quantizer.orthogonality_weight": Part(None, "the orthogonality term"),
    "quantizer.entropy_weight": Part(None, "the entropy term"),
    "quantizer.diversity_weight": Part(0.0, "the diversity term"),
    "quantizer.diversity": Part(0.0, "the marginal's share of the entropy term"),
    "quantizer.affine": Part(None, "the affine map of the codebook"),
    "quantizer.revive_below": Part(None, "the revival of dead entries"),
    "quantizer.start": Part("random", "the start among encoder states"),
    "quantizer.selection": Part("nearest", "sampling among entries in training"),
    "quantizer.estimator": Part("straight_through", "the gradient estimator beyond straight-through"),
    "quantizer.noise": Part(False, "noise in training"),
    "quantizer.dropout": Part(0.0, "the dropout of layers"),
    "optim.weight_decay": Part(0.0, "weight decay"),
    "optim.warmup_steps": Part(0, "the warm-up of the learning rate"),
    "optim.schedule": Part("constant", "the decay of the learning rate"),
    "optim.grad_clip": Part(None, "the clipping of gradients"),
    "train.quantize_from": Part(0, "the warm-up without quantization"),
}
"""`{path: how it is switched off}`; of variants that share a setting's name, all at once."""

KEPT: dict[str, str] = {
    "data.corpus.source_column": "says where the data is",
    "data.corpus.target_column": "says where the data is",
    "data.corpus.drop_shared": "changes the data",
    "data.corpus.subset": "says where the data is",
    "data.corpus.revision": "says where the data is",
    "data.corpus.validation_split": "says where the data is",
    "data.corpus.test_split": "says where the data is",
    "data.max_target_length": "null: as data.max_length",
    "model.backbone": "another model, not a part of one",
    "model.bert": "another model, not a part of one",
    "model.gpt2": "another model, not a part of one",
    "model.to_layer": "null: the last; a sweep answers it",
    "model.faithfulness_steps": "how runs are judged",
    "model.position": "null: after the last block; a sweep answers it",
    "quantizer.code_width": "null: the model's width; a sweep answers it",
    "quantizer.shared_codebook": "another codebook, of another rate",
    "quantizer.levels": "null: chosen by the codebook size",
    "quantizer.temperature": "null: the form's own",
    "quantizer.last_temperature": "null: the form's own",
    "quantizer.refit_every": "null: only at the start; a sweep answers it",
    "train.tf32": "speed",
    "train.compile": "speed",
    "evaluate.num_examples": "how runs are judged",
    "evaluate.num_generated": "how runs are judged",
    "evaluate.max_new_tokens": "how runs are judged",
}
"""`{path: why it is no part}`."""


def components(base: RunSpec) -> list[Component]:
    """Returns the parts that `base` has switched on and that can be switched off one at a time."""
    return [component for component in present(base) if refusal(base, component) is None]


def present(base: RunSpec) -> list[Component]:
    """Returns the parts that `base` has switched on, in the order of `PARTS`."""
    flat = base.as_flat_dict()
    flat["model.cross_positions"] = getattr(base.model, "resolved_cross_positions", flat.get("model.cross_positions"))
    found = []
    for path, part in PARTS.items():
        fits = all(flat.get(other) == value for other, value in part.when.items())
        if fits and _is_on(flat, path, part.off):
            found.append(Component(path, part, _held(base, {path: part.off})))
    return found


def _is_on(flat: Mapping[str, Any], path: str, off: Any) -> bool:
    """Whether a setting, or a whole section that may be null, is there and not off."""
    if path in flat:
        return bool(flat[path] != off)
    return off is None and any(other.startswith(f"{path}.") for other in flat)


def _held(base: RunSpec, overrides: dict[str, Any]) -> dict[str, Any]:
    """Adds what keeps the other settings: a variant of another name has other defaults for the same setting."""
    try:
        pinned = overrides | {path: base.as_flat_dict()[path] for path in side_changes(base, overrides)}
        base.with_overrides(pinned)
    except SettingError:
        return overrides
    return pinned


def side_changes(base: RunSpec, overrides: Mapping[str, Any]) -> list[str]:
    """Returns the settings known before and after whose value changes though no override names them."""
    old, new = base.as_flat_dict(), base.with_overrides(overrides).as_flat_dict()
    return [path for path in old if path in new and path not in overrides and old[path] != new[path]]


def refusal(base: RunSpec, component: Component) -> str | None:
    """Returns why a part cannot be switched off in `base`; None if it can."""
    try:
        base.with_overrides(component.overrides)
    except SettingError as error:
        return str(error).splitlines()[0]
    return None


def optional_settings(config: type[BaseModel] = RunSpec, prefix: str = "") -> Iterator[str]:
    """Yields the path of every setting that may be null, is a switch, or is a weight; of all variants."""
    for name, info in config.model_fields.items():
        leaves = leaf_types(info.annotation)
        sections = [leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, Config)]
        for section in sections:
            yield from optional_settings(section, f"{prefix}{name}.")
        if type(None) in leaves or bool in leaves or (not sections and name.endswith("weight")):
            yield f"{prefix}{name}"
