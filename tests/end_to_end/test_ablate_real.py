"""The whole pipeline once for real: a planted defect comes out as an effect, and what changes nothing as equivalent."""

from __future__ import annotations

import planted
import pytest

from tune.ablate import ablate
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.findings import TAKEN

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMALL = {
    "data.corpus.size": 128,
    "data.corpus.validation_size": 200,
    "data.corpus.test_size": 10,
    "data.corpus.num_further": 4,
    "data.max_length": 60,
    "model.d_model": 32,
    "model.d_ff": 64,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "quantizer.codebook_size": 8,
    "quantizer.revive_below": None,
    "quantizer.decay": 0.9,
    "optim.learning_rate": 5e-3,
    "optim.grad_clip": None,
    "train.max_steps": 40,
    "train.eval_every": 40,
    "train.batch_size": 128,
    "train.device": "cpu",
    "evaluate.num_examples": 200,
    "evaluate.num_generated": 0,
}
"""Half the positions of a batch are padding here: batches hold the whole corpus, short texts and long."""


def test_padding_counted_in_the_codebook_is_found_and_what_changes_nothing_is_equivalent(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spec = AblationSpec.parse(
        {
            "name": "padding",
            "question": "Does padding counted in the codebook do harm?",
            "base": SMALL,
            "arms": [
                {"name": "padding counts", "overrides": planted.SWITCH},
                {"name": "renamed", "overrides": {"quantizer.decay": 0.9}},
                {"name": "trained again", "overrides": {"optim.grad_clip": 1e9}},
            ],
            "seeds": 24,
            "nuisance": {"optim.learning_rate": {"type": "float", "low": 2e-3, "high": 1e-2, "log": True}},
            "trials_per_arm": 2,
            "tuning": "shared",  # a third of the runs; what tuning does to the error is simulated elsewhere
            "objective": {"metric": "validation/nll_per_char"},
            "margin": 0.002,
        }
    )
    result = ablate(spec, state=tmp_path, trainer=planted.TRAINER)
    assert {record.status for record in result.records} == {"completed"}
    arms = {arm.arm: arm for arm in result.comparison.arms}
    assert arms["padding counts"].verdict == "worse" and arms["padding counts"].effect.mean > 0
    assert arms["renamed"].verdict == "equivalent" and arms["trained again"].verdict == "equivalent"
    taken = [record for record in result.records if TAKEN in record.tags]
    assert len(taken) == 2 + 24, "the renamed arm alone was not trained"
