"""Laws of refusals: a space that could suggest what the spec does not allow is refused before a study starts."""

from __future__ import annotations

import pytest

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from tune.space.space import SearchSpace

BASE = RunSpec()
FLOAT = {"type": "float", "low": 0.1, "high": 0.5}
REFUSED = {
    "space.quantizer.decy: quantizer.decy is unknown; did you mean quantizer.decay?": {"quantizer.decy": FLOAT},
    "space.quantizer.decay: quantizer.decay=1.0 must lie strictly between 0 and 1": {
        "quantizer.decay": {**FLOAT, "high": 1.0}
    },
    "space.model.position: model.position=3 must be at most model.num_layers=2": {
        "model.position": {"type": "int", "low": 0, "high": 3}
    },
    "space.optim.schedule: optim.schedule='sine'": {
        "optim.schedule": {"type": "choice", "choices": ["linear", "sine"]}
    },
    "space.optim.beta1.low=0.5 must be less than high=0.5": {"optim.beta1": {**FLOAT, "low": 0.5}},
    "space.optim.learning_rate.low=0.0 must be more than 0 with log": {
        "optim.learning_rate": {**FLOAT, "low": 0, "log": True}
    },
    "space.optim.beta1.high=0.5 must be low=0.1 plus a multiple of step=0.3": {"optim.beta1": {**FLOAT, "step": 0.3}},
    "space.optim.beta1.hihg is unknown; did you mean high?": {"optim.beta1": {**FLOAT, "hihg": 1}},
    "space.optim.beta1.high is missing": {"optim.beta1": {"type": "float", "low": 0.1}},
    "space.optim.beta1.type='flaot' must be one of float, int, choice": {"optim.beta1": {**FLOAT, "type": "flaot"}},
    "space.quantizer.decay.when.quantizer.nam is unknown; did you mean quantizer.name?": {
        "quantizer.decay": {**FLOAT, "when": {"quantizer.nam": "ema"}}
    },
    "can never hold (quantizer.name is 'ema' in base)": {
        "quantizer.decay": {**FLOAT, "when": {"quantizer.name": "vq"}}
    },
    "depend on each other": {
        "optim.beta1": {**FLOAT, "when": {"optim.beta2": 0.3}},
        "optim.beta2": {**FLOAT, "when": {"optim.beta1": 0.3}},
    },
    "two ranges that can hold at once": {"optim.beta1": [FLOAT, {**FLOAT, "high": 0.6}]},
    "give one a condition": {
        "quantizer.name": {"type": "choice", "choices": ["ema", "none"]},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.9},
    },
    "must divide model.d_model": {
        "model.d_model": {"type": "choice", "choices": [96, 128]},
        "model.num_heads": {"type": "choice", "choices": [4, 6, 8]},
    },
    "space.quantizer.variants='emma' is unknown; did you mean ema?": {
        "quantizer": {"type": "suggested", "variants": ["emma"]}
    },
    "only quantizer can have type suggested": {"optim": {"type": "suggested", "variants": ["adam"]}},
    "choices=[32, 32] contains one value twice; remove one of them": {
        "train.batch_size": {"type": "choice", "choices": [32, 32]}
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_the_setting_and_the_way_out(message):
    with pytest.raises(SettingError) as error:
        SearchSpace.parse(REFUSED[message]).check(BASE)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_all_faults_are_reported_at_once():
    with pytest.raises(SettingError) as error:
        SearchSpace.parse({"quantizer.decy": FLOAT, "optim.lr": FLOAT}).check(BASE)
    assert {line.split(":")[0] for line in str(error.value).splitlines()} == {"space.quantizer.decy", "space.optim.lr"}
