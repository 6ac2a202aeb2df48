"""The config language: overrides, variants, errors that give the setting, the value and the way out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.config import Config, LocalOrHub, LocalPath, parse_words, read_value
from t5vqvae.errors import SettingError
from t5vqvae.quantizers import EMAConfig, QuantizerConfig
from t5vqvae.spec.run import RunSpec


def refusal(overrides: dict[str, Any]) -> str:
    with pytest.raises(SettingError) as caught:
        RunSpec().with_overrides(overrides)
    return str(caught.value)


def test_overrides_reach_every_depth_and_leave_the_base_alone() -> None:
    base = RunSpec()
    spec = base.with_overrides({"quantizer.codebook_size": 77, "seed": 3, "data.corpus.size": 500})
    assert (spec.quantizer.codebook_size, spec.seed, spec.data.corpus.size) == (77, 3, 500)
    assert base == RunSpec() and spec != base


def test_words_are_read_as_yaml() -> None:
    words = ["a.b=1e-3", "a.c=null", "d=[1, 2]", "e=true", "f=text", "g=x=y"]
    assert parse_words(words) == {"a.b": 1e-3, "a.c": None, "d": [1, 2], "e": True, "f": "text", "g": "x=y"}
    assert read_value("2") == 2 and isinstance(read_value("2"), int)


def test_a_word_without_equals_is_refused() -> None:
    with pytest.raises(SettingError, match="is no override"):
        parse_words(["quantizer.decay"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"quantizer.decay": 1.0}, "quantizer.decay=1.0 must lie strictly between 0 and 1"),
        ({"optim.learning_rat": 1}, "optim.learning_rat is unknown; did you mean optim.learning_rate?"),
        ({"optimm.learning_rate": 1}, "optimm.learning_rate is unknown; did you mean optim?"),
        ({"train.batch_size": 0}, "train.batch_size=0 must be at least 1"),
        ({"model.dropout": 1.0}, "model.dropout=1.0 must be at least 0 and less than 1"),
        ({"quantizer.name": "emaa"}, "quantizer.name='emaa' must be one of"),
        ({"quantizer.name": ["ema"]}, "quantizer.name=['ema'] must be one of"),
        ({"model.position": 9}, "model.position=9 must be at most model.num_layers=2"),
        (
            {"model.backbone": "t5-small", "model.d_model": 64},
            "model.d_model=64 comes from model.backbone; leave it out",
        ),
        ({"train.max_steps": "many"}, "train.max_steps='many'"),
    ],
)
def test_refusals_name_setting_value_and_rule(overrides: dict[str, Any], message: str) -> None:
    assert message in refusal(overrides)
    assert "\n" not in refusal(overrides)


def test_several_errors_make_several_lines() -> None:
    assert len(refusal({"quantizer.decay": 2, "train.batch_size": 0}).splitlines()) == 2


def test_errors_survive_pickling() -> None:
    error = SettingError("a=1 must be at least 2")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_changing_a_variant_keeps_what_both_know() -> None:
    base = RunSpec().with_overrides({"quantizer.codebook_size": 99, "quantizer.decay": 0.9})
    vq = base.with_overrides({"quantizer.name": "vq", "quantizer.codebook_weight": 2.0})
    assert (vq.quantizer.name, vq.quantizer.codebook_size, vq.quantizer.codebook_weight) == ("vq", 99, 2.0)
    assert base.with_overrides({"quantizer.name": "none"}).quantizer.as_dict() == {"name": "none"}


def test_a_mapping_for_a_section_changes_the_settings_in_it_alone() -> None:
    base = RunSpec().with_overrides({"train.max_steps": 70, "data.tokenizer.vocab_size": 400})
    mappings = {"train": {"batch_size": 8}, "data": {"tokenizer": {"kind": "unigram"}}}
    spec = base.with_overrides({**mappings, "train.tf32": False})
    assert (spec.train.max_steps, spec.train.batch_size, spec.train.tf32) == (70, 8, False)
    assert (spec.data.tokenizer.kind, spec.data.tokenizer.vocab_size) == ("unigram", 400)
    other = {"quantizer.codebook_size": 64, "quantizer": {"name": "vq"}}
    assert RunSpec().with_overrides(other).quantizer.as_dict()["codebook_size"] == 64
    prompts = {"model.prompts.num_prompts": 3, "model.prompts": {"hidden_width": 16}}
    both = RunSpec().with_overrides(prompts).as_flat_dict()
    assert (both["model.prompts.num_prompts"], both["model.prompts.hidden_width"]) == (3, 16)
    assert refusal({"train.max_steps": 3, "train": {"max_steps": 4}}).startswith("train.max_steps stands twice, as 3")


def test_a_setting_of_another_variant_is_refused() -> None:
    said = refusal({"quantizer.name": "none", "quantizer.decay": 0.9})
    assert (
        "quantizer.decay is no setting of this quantizer (known: name); ema, " in said
        and "set quantizer.name=ema" in said
    )
    assert "is unknown; known: " in refusal({"quantizer.name": "none", "quantizer.nonsense": 0.9})


def test_flat_and_nested_forms_agree() -> None:
    spec = RunSpec()
    assert RunSpec.parse(spec.as_dict()) == spec
    assert RunSpec().with_overrides({k: v for k, v in spec.as_flat_dict().items() if v != {}}) == spec


def test_the_run_id_ignores_what_cannot_change_a_result() -> None:
    spec = RunSpec()
    same = spec.with_overrides({"train.num_workers": 2, "train.device": "cpu"})
    assert same.run_id("data", "float32") == spec.run_id("data", "float32")
    others = [
        spec.with_overrides({"seed": 1}).run_id("data", "float32"),
        spec.with_overrides({"quantizer.decay": 0.98}).run_id("data", "float32"),
        spec.run_id("other data", "float32"),
        spec.run_id("data", "bfloat16"),
    ]
    assert len({spec.run_id("data", "float32"), *others}) == 5


def test_every_setting_of_every_quantizer_has_a_description() -> None:
    for name, config in QuantizerConfig.variants.items():
        for field, info in config.model_fields.items():
            assert field == "name" or info.description, f"quantizer {name}: {field}"


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EMAConfig().decay = 0.5


class Places(Config):
    file: LocalPath = "data.txt"
    model: LocalOrHub = "t5-small"
    size: int = 1
    rate: float = 0.5
    on: bool = False


def test_a_relative_path_means_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    said = Places.parse({"file": "x.txt", "model": "mine"})
    assert said.as_dict() | {"file": "", "model": ""} == Places().as_dict() | {"file": "", "model": ""}
    assert (said.file, said.model) == (str(tmp_path / "x.txt"), str(tmp_path / "mine"))
    monkeypatch.chdir("/")
    assert Places.parse(said.as_dict()) == said
    assert Places.parse({"model": "google/flan-t5-small"}).model == "google/flan-t5-small"
    assert Places.parse({"model": "./mine"}).model == "/mine"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": True}, "size=true must be a number"),
        ({"rate": False}, "rate=false must be a number"),
        ({"size": 10**20}, f"size={10**20} must be at most {2**53}"),
        ({"rate": "inf"}, "rate='inf' must be a finite number"),
        ({"size": "x"}, "size='x' must be a whole number"),
    ],
)
def test_what_is_no_number_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        Places.parse(values)
    assert str(refused.value) == said
    assert Places.parse({"on": True}).on is True
