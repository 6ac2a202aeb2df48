"""Four tiny trained models behave as theory says, and give recorded values; `make_checkpoints.py` made them.

The models were trained elsewhere, so sums in another order may turn single edits: values hold within a few edits.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from t5vqvae.data import prepare
from t5vqvae.measures.base import MEASURES, Probed
from t5vqvae.measures.control import scores
from t5vqvae.measures.probing import edit_outcomes
from t5vqvae.models.contract import TextAutoencoder, load_model
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec

FOLDER = Path(__file__).parent / "checkpoints"
EDITS = ProbeSpec(edits=120)
FEW = 0.04
"""A few edits of 84 local ones."""
RECORDED = {
    "names": {"local_intervention": 0.952, "locality": 0.996, "validity": 0.667, "exact_share": 0.967},
    "end": {"local_intervention": 0.940, "locality": 0.995, "validity": 0.658, "exact_share": 0.958},
    "none": {"local_intervention": 0.952, "locality": 0.994, "validity": 0.667, "exact_share": 0.992},
    "gaussian": {"local_intervention": 0.024, "locality": 0.521, "validity": 0.248, "exact_share": 0.0},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def spec_of(name: str) -> RunSpec:
    return RunSpec.parse(json.loads((FOLDER / name / "spec.json").read_text()))


def control_of(model: TextAutoencoder, name: str, cache: Path) -> dict[str, float]:
    return scores(edit_outcomes(model, spec_of(name), EDITS, cache).whole)


@pytest.fixture(scope="module")
def controls(cache: Path) -> dict[str, dict[str, float]]:
    return {name: control_of(load_model(FOLDER / name / "model"), name, cache) for name in RECORDED}


def test_the_models_are_small() -> None:
    for name in RECORDED:
        size = sum(file.stat().st_size for file in (FOLDER / name).rglob("*") if file.is_file())
        assert size < 300_000, name


@pytest.mark.parametrize("name", list(RECORDED))
def test_recorded_values(name: str, controls: dict[str, dict[str, float]]) -> None:
    found = {key: controls[name][f"control/{key}"] for key in RECORDED[name]}
    assert found == pytest.approx(RECORDED[name], abs=FEW)


def test_codes_of_tokens_control_local_factors_and_no_distributed_one(controls: dict[str, dict[str, float]]) -> None:
    for name in ("names", "end"):
        assert controls[name]["control/local_intervention"] > 0.9
        assert controls[name]["control/distributed_intervention"] < 0.05


def test_a_latent_of_the_sentence_controls_less(controls: dict[str, dict[str, float]]) -> None:
    others = min(controls[name]["control/local_intervention"] for name in ("names", "end", "none"))
    assert controls["gaussian"]["control/local_intervention"] < others - 0.5


def test_an_untrained_model_controls_nothing(cache: Path) -> None:
    spec = spec_of("names")
    data = prepare(spec.data, cache)
    model = spec.model.build(spec, data.tokenizer, len(data.role_names)).eval()
    found = control_of(model, "names", cache)
    assert found["control/local_intervention"] == found["control/distributed_intervention"] == 0


def test_a_decoder_that_ignores_its_codes_controls_nothing_however_well_they_name_tokens(cache: Path) -> None:
    model = load_model(FOLDER / "names" / "model")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("EncDecAttention.o.weight"):
                weight.zero_()
    found = control_of(model, "names", cache)
    assert found["control/local_intervention"] == 0 and found["control/changed_share"] == 0
    assert "control/locality" not in found and "control/validity" not in found


def measured(name: str, cache: Path, *measures: str) -> dict[str, float]:
    """Metrics of single measures, as in a full probe of 150 sentences and 60 edits."""
    spec = spec_of(name)
    data, model = prepare(spec.data, cache), load_model(FOLDER / name / "model")
    probed = Probed(model, spec, data.train, data.validation, "validation", data.role_names, cache, 150, 60)
    return {key: value for each in measures for key, value in MEASURES[each].run(probed).metrics.items()}


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
