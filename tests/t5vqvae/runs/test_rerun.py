"""The command that trains a run again gives back its spec, whatever the run is."""

from __future__ import annotations

import shlex

import pytest
from baseline_runs import CASES, tiny

from t5vqvae.config import parse_words
from t5vqvae.quantizers.base import QuantizerConfig
from t5vqvae.runs.rerun import rerun_command, rerun_note, rerun_words
from t5vqvae.spec.run import RunSpec


def again(spec: RunSpec) -> RunSpec:
    program, command, *words = shlex.split(rerun_command(spec))
    assert (program, command) == ("t5vqvae", "train")
    return RunSpec().with_overrides(parse_words(words))


@pytest.mark.parametrize("case", CASES)
def test_the_command_of_every_architecture_gives_its_spec(case: str) -> None:
    name, overrides = CASES[case]
    spec = tiny(name, **overrides)
    assert again(spec) == spec


@pytest.mark.parametrize("name", QuantizerConfig.variants)
def test_the_command_of_every_quantizer_gives_its_spec(name: str) -> None:
    spec = RunSpec().with_overrides({"quantizer.name": name, "seed": 7, "optim.learning_rate": 1e-05})
    assert again(spec) == spec


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert rerun_words(RunSpec()) == []
    assert rerun_words(RunSpec().with_overrides({"seed": 3})) == ["seed=3"]


def test_a_text_that_reads_as_a_number_stays_a_text() -> None:
    spec = RunSpec().with_overrides({"model.backbone": "12"})
    assert 'model.backbone="12"' in rerun_words(spec) and again(spec) == spec


def test_the_description_says_what_the_run_is_and_how_to_run_it_again() -> None:
    spec = RunSpec().with_overrides({"seed": 3})
    assert rerun_note(spec, "Trial 3.") == "Trial 3.\n\nRun it again, on one machine:\n\n```\nt5vqvae train seed=3\n```"
    assert rerun_note(spec, "").startswith("Run it again")
