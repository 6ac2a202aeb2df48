"""The spread of a score over five disjoint sets of sentences, by hand, and where there are too few of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from t5vqvae.data import prepare
from t5vqvae.measures import base
from t5vqvae.measures.base import Probed
from t5vqvae.measures.over_templates import TOO_FEW, Scores, over_templates
from t5vqvae.measures.slots import Slots
from t5vqvae.measures.z_diff import measure_z_diff
from t5vqvae.models.contract import load_model
from t5vqvae.spec.run import RunSpec

CHECKPOINTS = Path(__file__).parent / "checkpoints"


def table(template: str, value: float, size: int = 10) -> Slots:
    """The sentences of a template, with a value that scores read."""
    return Slots(template, ["latent"], [np.full((size, 1), value)], ["factor"], np.zeros((size, 1), dtype=np.int64))


def scores(slots: Slots) -> Scores:
    value = float(slots.parts[0][0, 0])
    return {"sap": None if value < 0 else value, "own_shuffled": 0.5}


def found(*parts: list[Slots], has_fifths: bool = True) -> Any:
    probed: Any = SimpleNamespace(slots=parts[0], fifths=list(parts) if has_fifths else [])
    return over_templates(probed, "Planted", scores, lambda slots: {"sap_shuffled": len(slots.factors_NF) / 100})


def test_the_spread_is_from_the_lowest_to_the_highest_of_five_and_the_value_is_the_first_ones() -> None:
    values = [(0.4, 0.6), (0.1, 0.9), (0.3, 0.7), (0.2, 0.4), (0.5, 0.9)]
    result = found(*([table("eat", a), table("see", b, 30)] for a, b in values))
    assert result.metrics == pytest.approx({
        "disentanglement/sap": 0.5,
        "disentanglement/own_shuffled": 0.5,
        "disentanglement/sap_shuffled": 0.2,
    })  # fmt: skip
    eat, see, mean = result.tables["Planted"]
    assert (eat["sap"], eat["sap, over fifths"], eat["sentences"]) == (0.4, "0.100 to 0.500", 10)
    assert (see["sap"], see["sap, over fifths"], see["sap_shuffled"]) == (0.6, "0.400 to 0.900", 0.3)
    assert (mean["template"], mean["sap"], mean["sap, over fifths"]) == ("mean", 0.5, "0.300 to 0.700")
    assert "own_shuffled, over fifths" not in eat and list(eat) == list(see) == list(mean)


def test_what_has_too_few_sentences_or_no_value_says_so() -> None:
    fifths = [[table("eat", 0.4), table("see", 0.6)]] * 4
    eat, see, mean = found(*fifths, [table("eat", -1)]).tables["Planted"]
    assert eat["sap, over fifths"] == "not defined in 1 of 5" and see["sap, over fifths"] == TOO_FEW
    assert mean["sap"] == 0.5 and mean["sap, over fifths"] == "not defined in 1 of 5"
    rows = found(fifths[0], has_fifths=False).tables["Planted"]
    assert {row["sap, over fifths"] for row in rows} == {TOO_FEW}
    nowhere = found([table("eat", -1), table("see", -1)], has_fifths=False)
    assert "disentanglement/sap" not in nowhere.metrics and {row["sap"] for row in nowhere.tables["Planted"]} == {None}
    assert found([]).tables == found([]).metrics == {}


def test_fifths_are_disjoint_and_the_first_is_what_the_value_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "NUM_FACTORED", 800)
    monkeypatch.setattr("t5vqvae.measures.slots.LEAST_SENTENCES", 80)
    spec = RunSpec.parse(json.loads((CHECKPOINTS / "names" / "spec.json").read_text()))
    data, model = prepare(spec.data, tmp_path), load_model(CHECKPOINTS / "names" / "model").eval()
    read = list[str]()
    probed = Probed(model, spec, data.train, data.validation, "validation", data.role_names, tmp_path, 50, 10)
    encode = base.LatentSpace.encode

    def note(self: Any, texts: list[str], *rest: Any) -> Any:
        read.extend(texts)
        return encode(self, texts, *rest)

    monkeypatch.setattr(base.LatentSpace, "encode", note)
    result = measure_z_diff(probed)
    assert len(read) == 4000 == len(data.train) and sorted(read) == sorted(data.train.sources(range(4000)))
    *rows, mean = result.tables["z-diff"]
    low, high = map(float, str(mean["z_diff, over fifths"]).split(" to "))
    assert low - 0.001 < result.metrics["disentanglement/z_diff"] == mean["z_diff"] < high + 0.001
    assert 0 < high - low < 0.1
    assert TOO_FEW in {row["z_diff, over fifths"] for row in rows}, (
        "about 89 sentences a template, and 80 are asked for"
    )
    monkeypatch.setattr(base, "NUM_FACTORED", 801)
    more = Probed(model, spec, data.train, data.validation, "validation", data.role_names, tmp_path, 50, 10)
    assert more.fifths == [] and len(more.slots) > 5
