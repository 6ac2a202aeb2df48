"""Reads a pretrained checkpoint whole, or refuses it by name: nothing pretrained is ever drawn anew.

Transformers loads what fits and draws the rest at random, with a warning: of another architecture, of a torn file, of
a layer that is too small. Here each of these is an error in one line. `quietly` and `first_fault` serve the loading of
this project's own models too.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, T5ForConditionalGeneration

from t5vqvae.errors import SettingError

T5_FAMILY: Mapping[str, str] = {"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"}
"""Transformers' class of each `model_type` that is a T5; v1.1, flan and byT5 are of type t5."""
BERT: Mapping[str, str] = {"bert": "BertModel"}
GPT2: Mapping[str, str] = {"gpt2": "GPT2Model"}

UNREADABLE = (
    *(OSError, ValueError, RuntimeError, ImportError, EOFError),
    *(KeyError, TypeError, AttributeError),  # a config.json whose values no model can have
    *(SafetensorError, pickle.UnpicklingError, StrictDataclassError),
)
"""What Transformers raises about a file that is damaged, missing or not a model's."""


def read_backbone(setting: str, place: str, family: Mapping[str, str]) -> PreTrainedModel:
    """Returns a pretrained model with every weight from its checkpoint, all of them finite.

    Args:
        setting: The setting that names it, for errors.
        place: Folder or hub name.
        family: `{model_type: Transformers' class}` of the architectures that fit.

    Raises:
        SettingError: If it is of another architecture, cannot be read, or is not whole.
    """
    what = f"{setting}={place!r}"
    expected = " or ".join(name.upper() for name in family)
    config = _config_of(what, place, expected)
    if config.get("model_type") not in family:
        raise SettingError(
            f"{what} is of type {config.get('model_type')}, not {expected}; name a {expected} checkpoint"
        )
    kind: type[PreTrainedModel] = getattr(transformers, family[config["model_type"]])
    try:
        with quietly():
            loaded: Any = kind.from_pretrained(place, output_loading_info=True, ignore_mismatched_sizes=True)
    except UNREADABLE as error:
        _reraise_memory(error)
        raise SettingError(f"{what} cannot be loaded: {first_line(error)}; name an intact {expected}") from error
    model, found = loaded
    fault = first_fault(model, found) or _lost_head(model, config) or _second_embedding(model)
    if fault:
        saved_as = ", ".join(config.get("architectures") or [kind.__name__])
        state = "is not whole" if saved_as == kind.__name__ else f"is no {kind.__name__} but a {saved_as}"
        raise SettingError(f"{what} {state}: {fault}; name another {expected} checkpoint")
    return model


def read_t5(place: str) -> T5ForConditionalGeneration:
    """Returns the T5 that `model.backbone` names; mT5's class has the same parts under the same names."""
    return cast(T5ForConditionalGeneration, read_backbone("model.backbone", place, T5_FAMILY))


def t5_settings(backbone: T5ForConditionalGeneration) -> dict[str, Any]:
    """Returns the settings of a T5, and `separate_head`: whether its output layer is not the embedding."""
    settings = backbone.config.to_dict()
    for name in ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype"):
        settings.pop(name, None)
    # T5's config says whether states are scaled before the output layer; mT5's class never scales them.
    settings["scale_decoder_outputs"] = getattr(backbone.config, "scale_decoder_outputs", False)
    return settings | {"separate_head": backbone.lm_head.weight is not backbone.shared.weight}


def refuse_few_rows(backbone: str | None, num_rows: int, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuses an embedding with fewer rows than its tokenizer has tokens.

    Raises:
        SettingError: With both sizes.
    """
    numbers = tokenizer.get_vocab().values() if hasattr(tokenizer, "get_vocab") else ()
    num_tokens = max(len(tokenizer), max(numbers, default=-1) + 1)  # numbers of added tokens may have gaps
    if num_tokens > num_rows:
        raise SettingError(
            f"model.backbone={backbone!r} has an embedding of {num_rows} rows, but its tokenizer has {num_tokens}"
            " tokens; name a checkpoint whose sizes fit, or resize it by resize_token_embeddings"
        )


def load_whole(model: nn.Module, stored: Mapping[str, torch.Tensor], second_names: Collection[str]) -> str | None:
    """Loads stored tensors into a model that is none of Transformers'; returns the first fault, as `first_fault` does.

    Args:
        model: The model; after a fault of names or shapes it keeps its own weights.
        stored: The tensors of a file.
        second_names: Names that may be missing, because their tensor has another name too.
    """
    needed = model.state_dict()
    both = needed.keys() & stored.keys()
    found = {
        "missing_keys": needed.keys() - stored.keys() - set(second_names),
        "mismatched_keys": {(k, stored[k].shape, needed[k].shape) for k in both if stored[k].shape != needed[k].shape},
        "unexpected_keys": stored.keys() - needed.keys(),
    }
    if not any(found.values()):
        model.load_state_dict(stored, strict=False)
    return first_fault(model, found)


def first_fault(model: nn.Module, found: Mapping[str, Any]) -> str | None:
    """Returns what Transformers did not find as the model needs it, and what is not finite; None: nothing.

    Args:
        model: The loaded model.
        found: The loading report of `from_pretrained(..., output_loading_info=True)`.
    """
    if found["missing_keys"]:
        return _counted("tensor is missing", "tensors are missing", found["missing_keys"])
    if found["mismatched_keys"]:
        name, stored, needed = min(found["mismatched_keys"])
        return f"{name} has shape {tuple(stored)}, where config.json needs {tuple(needed)}"
    if unknown := _unused(found["unexpected_keys"], model):
        return _counted("tensor has no place", "tensors have no place", unknown)
    infinite = [name for name, tensor in model.state_dict().items() if not is_finite(tensor)]
    return _counted("tensor is not finite", "tensors are not finite", infinite) if infinite else None


def is_finite(tensor: torch.Tensor) -> bool:
    """Returns whether no number of a tensor is infinite or NaN."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message; its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")


@contextmanager
def quietly() -> Iterator[None]:
    """Silences Transformers' warnings, such as its table of tensors: what it finds is checked afterwards."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


def _config_of(what: str, place: str, expected: str) -> dict[str, Any]:
    """Returns the plain values of a checkpoint's config.json."""
    if Path(place).is_dir() and not Path(place, "config.json").is_file():
        raise SettingError(f"{what} has no config.json; name the folder of a {expected} checkpoint")
    try:
        config = transformers.PreTrainedConfig.get_config_dict(place)[0]
    except UNREADABLE as error:
        raise SettingError(f"{what} cannot be loaded: {first_line(error)}; name a {expected} checkpoint") from error
    if not isinstance(config, dict):
        raise SettingError(f"{what} cannot be loaded: its config.json holds no settings; name a {expected} checkpoint")
    return config


def _lost_head(model: PreTrainedModel, config: Mapping[str, Any]) -> str | None:
    """Returns that a separate output layer is missing; Transformers would use the embedding instead."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or config.get("tie_word_embeddings", True) or head.weight is not embedding.weight:
        return None
    return "lm_head.weight is missing, though config.json says tie_word_embeddings=false"


def _second_embedding(model: PreTrainedModel) -> str | None:
    """Returns that the encoder's or the decoder's embedding differs from the shared one."""
    for name in ("encoder", "decoder"):
        own = getattr(getattr(model, name, None), "embed_tokens", None)
        if own is not None and own.weight is not model.get_input_embeddings().weight:
            return f"{name}.embed_tokens.weight differs from shared.weight"
    return None


def _unused(names: set[str], model: nn.Module) -> list[str]:
    """Returns the stored tensors that the model should have used: not those of a task's head on BERT or GPT-2."""
    if not isinstance(model, PreTrainedModel) or model.get_output_embeddings() is not None:
        return sorted(names)
    parts, prefix = {name for name, _ in model.named_children()}, f"{model.base_model_prefix}."
    own = [name for name in sorted(names) if name.removeprefix(prefix).split(".")[0] in parts]
    return [name for name in own if not name.endswith("attn.masked_bias")]  # a constant of old GPT-2 checkpoints


def _counted(one: str, more: str, names: Any) -> str:
    names = sorted(names)
    return f"{len(names)} {one if len(names) == 1 else more}, such as {names[0]}"


def _reraise_memory(error: BaseException) -> None:
    """Raises an error again if it means that memory was full: nothing is wrong with the checkpoint then."""
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        raise error
