"""The parts of a run that leave-one-out can switch off.

Every optional setting of a run spec (one that may be null, a switch, or a weight) is either in `PARTS`, with the value
that switches it off, or in `KEPT`, with the reason why it is no part. A test fails for a new setting in neither.
`PARTS` has other parts too, such as a start or an estimator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from t5vqvae.config import Config
from t5vqvae.config.fields import leaf_types
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec


@dataclass(frozen=True)
class _Part:
    """The way to switch one part of a run off.

    Attributes:
        off: The setting's value without it.
        what: The part, in words.
        when: `{path: value}` that must hold for the setting to be a part.
        needs: A setting that must not be null for it to be a part.
        label: Its short name; None: the last component of its path.
    """

    off: Any
    what: str
    when: Mapping[str, Any] = field(default_factory=dict)
    needs: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class _Component:
    """A part that a run has switched on.

    Attributes:
        path: Its setting.
        part: The way to switch it off.
        overrides: Settings that switch it off and leave the rest as it is.
    """

    path: str
    part: _Part
    overrides: Mapping[str, Any]


PARTS: dict[str, _Part] = {
    "data.tokenizer.open_vocabulary": _Part(False, "the open vocabulary"),
    "data.augment.rename": _Part(0.0, "renaming"),
    "data.augment.join": _Part(0.0, "joining"),
    "model.cross_positions": _Part("none", "positions in cross-attention"),
    "model.dropout": _Part(0.0, "dropout"),
    "model.premises": _Part("joint", "the separate encoding of premises"),
    "model.prompts": _Part(None, "the prompts"),
    "model.prompts.consistency_weight": _Part(0.0, "the consistency term of the prompts"),
    "model.prompts.quantize": _Part(False, "the quantization of the prompts", label="quantized prompts"),
    "model.kl_weight": _Part(0.0, "the KL term"),
    "model.free_bits": _Part(None, "free bits"),
    "model.query": _Part(None, "the second latent, in the queries"),
    "model.latent_in_embeddings": _Part(False, "the latent in the decoder's embeddings"),
    "model.adversarial_weight": _Part(0.0, "the adversarial term"),
    "model.log_variance_weight": _Part(0.0, "the noise that LAAE keeps alive"),
    "quantizer.name": _Part(
        "vq", "the moving averages (against gradients)", {"quantizer.name": "ema"}, label="averages"
    ),
    "quantizer.commitment_weight": _Part(0.0, "the commitment term"),
    "quantizer.codebook_weight": _Part(0.0, "the codebook term"),
    "quantizer.orthogonality_weight": _Part(None, "the orthogonality term"),
    "quantizer.entropy_weight": _Part(None, "the entropy term"),
    "quantizer.diversity_weight": _Part(0.0, "the diversity term"),
    "quantizer.diversity": _Part(0.0, "the marginal's share of the entropy term"),
    "quantizer.affine": _Part(None, "the affine map of the codebook"),
    "quantizer.revive_below": _Part(None, "the revival of dead entries"),
    "quantizer.revive_beyond": _Part(None, "the bound of revival to far inputs", needs="quantizer.revive_below"),
    "quantizer.start": _Part("random", "the start among encoder states"),
    "quantizer.selection": _Part("nearest", "sampling among entries in training"),
    "quantizer.estimator": _Part("straight_through", "the gradient estimator beyond straight-through"),
    "quantizer.noise": _Part(False, "noise in training"),
    "quantizer.dropout": _Part(0.0, "the dropout of layers"),
    "optim.weight_decay": _Part(0.0, "weight decay"),
    "optim.warmup_steps": _Part(0, "the warm-up of the learning rate"),
    "optim.schedule": _Part("constant", "the decay of the learning rate"),
    "optim.grad_clip": _Part(None, "the clipping of gradients"),
    "train.quantize_from": _Part(0, "the warm-up without quantization"),
    "train.autoencode_steps": _Part(0, "the stage of the auto-encoder"),
    "data.extra_text": _Part(None, "the extra text of the first stage"),
    "train.code_dropout": _Part(0.0, "code dropout", when={"evaluate.unsent": None}),  # sparse codes cannot do without
    "train.code_swap": _Part(0.0, "the swapping of codes"),
    "train.word_shuffle": _Part(0.0, "the shuffling of words"),
    "train.noise_steps": _Part(0, "the growth of the noise from nothing"),
    "model.not_sent": _Part("replaced", "the removal of what is not sent"),
    "train.gate_price": _Part(None, "the gate of sent codes"),
    "train.rate_price": _Part(None, "the price of the rate"),
}
"""`{path: the way to switch it off}`; one entry for all variants that share the setting."""

KEPT: dict[str, str] = {
    "data.corpus.source_column": "says where the data is",
    "data.corpus.roles_column": "says where the data is",
    "data.corpus.target_column": "says where the data is",
    "data.corpus.drop_shared": "changes the data",
    "data.corpus.two_texts": "changes the data",
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
    "evaluate.unsent": "how runs are judged",
    "evaluate.meaning": "how runs are judged",
    "model.final_norm": "null: before the quantizer at the last position; a sweep answers it",
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
"""`{path: reason why it is no part}`."""


def components(base: RunSpec) -> list[_Component]:
    """Returns the parts that `base` has switched on and that can be switched off one at a time."""
    return [component for component in present(base) if refusal(base, component) is None]


def present(base: RunSpec) -> list[_Component]:
    """Returns the parts that `base` has switched on, in the order of `PARTS`."""
    flat = base.as_flat_dict()
    flat["model.cross_positions"] = getattr(base.model, "resolved_cross_positions", flat.get("model.cross_positions"))
    found = []
    for path, part in PARTS.items():
        fits = all(flat.get(other) == value for other, value in part.when.items())
        fits = fits and (part.needs is None or flat.get(part.needs) is not None)
        if fits and _is_on(flat, path, part.off):
            found.append(_Component(path, part, _held(base, {path: part.off})))
    return found


def _is_on(flat: Mapping[str, Any], path: str, off: Any) -> bool:
    """Returns whether a setting, or a section that may be null, is there and not off."""
    if path in flat:
        return bool(flat[path] != off)
    return off is None and any(other.startswith(f"{path}.") for other in flat)


def _held(base: RunSpec, overrides: dict[str, Any]) -> dict[str, Any]:
    """Adds overrides that keep the other settings, because another variant has other defaults for them."""
    try:
        pinned = overrides | {path: base.as_flat_dict()[path] for path in side_changes(base, overrides)}
        base.with_overrides(pinned)
    except SettingError:
        return overrides
    return pinned


def side_changes(base: RunSpec, overrides: Mapping[str, Any]) -> list[str]:
    """Returns the settings that change without an override, out of those known before and after."""
    old, new = base.as_flat_dict(), base.with_overrides(overrides).as_flat_dict()
    return [path for path in old if path in new and path not in overrides and old[path] != new[path]]


def refusal(base: RunSpec, component: _Component) -> str | None:
    """Returns the reason why a part cannot be switched off in `base`, or None."""
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
