"""A run that asks for measures has those of `t5vqvae probe`, at its end."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from baseline_runs import tiny

from t5vqvae.errors import SettingError
from t5vqvae.measures.probing import MEASURES, probe
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.training import RunMeasure
from t5vqvae.training.trainer import train

ASKED = {
    "data.corpus.version": 2,
    "train.max_steps": 4,
    "train.eval_every": 2,
    "evaluate.probe": ["codebook", "splices"],
}


def test_the_last_evaluation_has_them_as_a_probe_has(tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **ASKED)
    first, last = train(spec, cache_dir=tmp_path)
    assert "codebook/cosine" not in first.metrics
    model = last.state.model
    assert isinstance(model, TextAutoencoder) and model.training
    found = probe(model, spec, ProbeSpec(), tmp_path, ["codebook", "splices"]).metrics
    assert {"codebook/cosine", "codebook/dead_share", "splice/substitution"} <= found.keys()
    assert {name: last.metrics[name] for name in found} == pytest.approx(dict(found))


def test_a_run_asks_for_measures_that_need_nothing_else() -> None:
    assert set(get_args(RunMeasure)) <= MEASURES.keys()
    with pytest.raises(SettingError, match=r"evaluate.probe.*'labels'"):
        tiny("t5vqvae", **{**ASKED, "evaluate.probe": ["labels"]})
    assert tiny("t5vqvae").evaluate.probe == ()
