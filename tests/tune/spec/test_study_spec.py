"""Laws of what searches and ablations share: a setting that cannot work is refused by both, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ablations import ablation
from searches import stub_study

from t5vqvae.errors import SettingError
from tune.spec.search_spec import SearchSpec
from tune.spec.study_spec import StudySpec


def search(**settings: Any) -> StudySpec:
    return stub_study(settings.pop("name", "shared"), 4, **settings)


def ablated(**settings: Any) -> StudySpec:
    return ablation(settings.pop("name", "shared"), **settings)


DECODED = {"metric": "validation/bleu"}
REFUSED = {
    "base: train.num_workers is resources.workers here": {"base": {"train.num_workers": 2}},
    "quantizer.codebok_size is unknown; did you mean quantizer.codebook_size": {"base": {"quantizer.codebok_size": 2}},
    "runner=process takes one worker": {"runner": "process", "resources": {"workers": 2}},
    "train.device=cpu leaves resources.gpus=0.5 unused": {
        "base": {"train.device": "cpu"},
        "resources": {"gpus": 0.5},
    },
    "train.device=cuda needs GPUs": {"base": {"train.device": "cuda"}},
    "resources.gpus='some' must be a number of GPUs": {"resources": {"gpus": "some"}},
    "resources.gpus=1.5 must be a whole number": {"resources": {"gpus": 1.5}},
    "budget.hours=0.0 must be more than 0": {"budget": {"hours": 0.0}},
    "retention.keep_steps=0 must be at least 1": {"retention": {"keep_steps": 0}},
    "name='a b'": {"name": "a b"},
}


@pytest.mark.parametrize("study", [search, ablated])
@pytest.mark.parametrize("message", REFUSED)
def test_both_kinds_of_study_refuse(study: Callable[..., StudySpec], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        study(**REFUSED[message])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("study", [search, ablated])
def test_a_metric_of_decoded_text_needs_decoding(study: Callable[..., StudySpec]) -> None:
    judged: dict[str, Any] = {"objectives": [DECODED]} if study is search else {"objective": DECODED}
    base = {"evaluate.num_generated": 0}
    spec = study(base=base, **judged)  # as one that has begun is read
    with pytest.raises(SettingError, match=r"validation/bleu needs decoded text; set evaluate.num_generated"):
        spec.refuse_new() if isinstance(spec, SearchSpec) else spec.refuse_new(spec.resolve_base())


@pytest.mark.parametrize("study", [search, ablated])
def test_a_study_reads_what_it_writes(study: Callable[..., StudySpec], tmp_path: Any) -> None:
    spec = study()
    spec.write(tmp_path / "study.json")
    assert type(spec).read(tmp_path / "study.json") == spec
