"""Four tiny trained models behave as theory says, and give recorded values; `make_checkpoints.py` made them.

`record_probes.py` recorded the values. Another machine adds in another order, which may flip single items. So a share
may differ by two of its items (edits, swaps, splices, paths), and other values by what flips can do to them: weights
that differed by one part in 10,000 flipped one item of a share at most, and moved no other value by half of its bound.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from t5vqvae.data import prepare
from t5vqvae.measures.base import MEASURES, Probed
from t5vqvae.models.contract import load_model
from tests.t5vqvae.measures.record_probes import FILE, FOLDER, NAMES, found_by_probe, spec_of

Values = dict[str, float]
TOLERANCES = {
    "control/": 2 / 120,
    "control/local_": 2 / 84,
    "control/distributed_": 2 / 36,
    "traversal/": 2 / 144,
    "splice/": 2 / 15,
    "splice/unchanged_share": 2 / 45,
    "smoothness/": 2 / 60,
    "information/": 0.02,
    "codebook/cosine": 0.003,
    "codebook/dead_share": 2 / 256,
    "codebook/effective_rank": 0.1,
    "latent_use/": 0.01,  # nats a character
}
"""By how much a metric may differ from its recorded value; the longest key that it begins with counts."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def probed(cache: Path) -> dict[str, Values]:
    return {name: found_by_probe(name, cache) for name in NAMES}


def tolerance(key: str) -> float:
    return TOLERANCES[max((begin for begin in TOLERANCES if key.startswith(begin)), key=len)]


def test_the_models_are_small() -> None:
    for name in NAMES:
        size = sum(file.stat().st_size for file in (FOLDER / name).rglob("*") if file.is_file())
        assert size < 300_000, name


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_finds_the_recorded_values(name: str, probed: dict[str, Values]) -> None:
    recorded = json.loads(FILE.read_text(encoding="utf-8"))[name]
    assert set(probed[name]) == set(recorded), "and measures nothing else"
    differing = {key: (value, recorded[key]) for key, value in probed[name].items()
                 if not abs(value - recorded[key]) <= tolerance(key)}  # fmt: skip  # NaN differs, too
    assert not differing, "found and recorded"


def test_codes_of_tokens_control_local_factors_and_no_distributed_one(probed: dict[str, Values]) -> None:
    for name in ("names", "end"):
        assert probed[name]["control/local_intervention"] > 0.9
        assert probed[name]["control/distributed_intervention"] < 0.05


def test_a_latent_of_the_sentence_controls_less(probed: dict[str, Values]) -> None:
    others = min(probed[name]["control/local_intervention"] for name in ("names", "end", "none"))
    assert probed["gaussian"]["control/local_intervention"] < others - 0.5


def test_an_untrained_model_controls_nothing(cache: Path) -> None:
    spec = spec_of("names")
    data = prepare(spec.data, cache)
    model = spec.model.build(spec, data.tokenizer, len(data.role_names)).eval()
    found = found_by_probe("names", cache, model, ["control"])
    assert found["control/local_intervention"] == found["control/distributed_intervention"] == 0


def test_a_decoder_that_ignores_its_codes_controls_nothing_however_well_they_name_tokens(cache: Path) -> None:
    model = load_model(FOLDER / "names" / "model")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("EncDecAttention.o.weight"):
                weight.zero_()
    found = found_by_probe("names", cache, model, ["control"])
    assert found["control/local_intervention"] == 0 and found["control/changed_share"] == 0
    assert "control/locality" not in found and "control/validity" not in found


def measured(name: str, cache: Path, *measures: str) -> Values:
    """Metrics of single measures, as in a full probe of 150 sentences and 60 edits."""
    spec = spec_of(name)
    data, model = prepare(spec.data, cache), load_model(FOLDER / name / "model")
    read = Probed(model, spec, data.train, data.validation, "validation", data.role_names, cache, 150, 60)
    return {key: value for each in measures for key, value in MEASURES[each].run(read).metrics.items()}


@pytest.mark.slow
def test_a_slot_of_a_role_holds_its_filler_and_a_vector_of_the_sentence_spreads_it(cache: Path) -> None:
    names, sentence = (measured(name, cache, "disentanglement", "dci", "z_diff") for name in ("names", "gaussian"))
    assert names["disentanglement/mig"] > 5 * sentence["disentanglement/mig"] > 0
    assert names["disentanglement/dci_completeness"] > 0.7 > 0.4 > sentence["disentanglement/dci_completeness"]
    for found in (names, sentence):
        for key in ("dci_informativeness", "z_diff"):
            assert found[f"disentanglement/{key}"] > found[f"disentanglement/{key}_shuffled"] + 0.1, key
    assert measured("gaussian", cache, "information", "codebook", "splices", "traversal") == {}, "it has no codes"


def test_codes_that_name_tokens_are_copied_and_show_no_structure_beyond_names(cache: Path) -> None:
    found = measured("names", cache, "probes", "attention", "concepts", "sensitivity")
    assert found["readout/role_accuracy"] < found["readout/role_control"] + 0.05
    assert found["attention/aligned"] > 0.9 > 0.2 > found["attention/uniform"]
    assert found["concepts/removal"] > 5 * abs(found["concepts/removal_random"])
    assert found["codebook/sensitivity"] > 0.3 > abs(found["codebook/sensitivity_shuffled"])
