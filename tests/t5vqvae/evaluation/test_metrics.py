"""One list of metrics: runs of every kind produce what it lists, and every key in the sources and studies is on it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from baseline_runs import CASES, finish, tiny

from t5vqvae.evaluation.final_test import evaluate_test
from t5vqvae.evaluation.metric import NEEDS
from t5vqvae.evaluation.metrics import METRICS, common_rate, find, is_on_test, label, metrics_of, on_test, tracked
from t5vqvae.evaluation.probe_metrics import PROBE_METRICS
from t5vqvae.evaluation.run_metrics import RUN_METRICS
from t5vqvae.tracking.system import SystemMetrics
from t5vqvae.training.trainer import Milestone

ROOT = Path(__file__).parents[3]
SHORT = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_examples": 8, "evaluate.num_generated": 2}
QUANTIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    f"quantizer {name}": ("t5vqvae", {"quantizer.name": name}) for name in ("none", "gumbel", "soft", "sfvq", "fsq")
}
SPARSE = {"train.code_dropout": 0.5, "evaluate.unsent": 100.0}
EDITED = {"data.corpus.version": 2, "evaluate.control": 12, **SPARSE}
FAR = {"data.corpus.name": "math", "data.corpus.test_size": 20, "data.ood": 4, "evaluate.meaning": True}
STAGED = {
    "data.corpus.name": "syllogisms",
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 20,
    "data.max_length": 80,
    "model.position": 1,
    "train.autoencode_steps": 1,
}
KINDS = (
    CASES
    | QUANTIZERS
    | {
        "edited, sparse": ("t5vqvae", EDITED),
        "far": ("t5vqvae", FAR),
        "two stages": ("t5vqvae", STAGED),
    }
)
OTHERWISE = {
    "a GPU",
    "an ablation",
    "a probe",
    "a probe with labels",
    "a probe with a frozen encoder",
    "a probe with an earlier checkpoint",
    "edits that change the text",
    "edits of sentences that the model reconstructs",
}
"""The conditions of metrics that no run of these tests can have."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def network(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5VQVAE without a bottleneck, for the baseline that explains one."""
    milestones, _ = finish(tiny("t5vqvae", **{**SHORT, "quantizer.name": "none"}), cache)
    return milestones[-1].state.save(tmp_path_factory.mktemp("network")) / "model"


@pytest.fixture(scope="module")
def last(cache: Path, network: Path) -> dict[str, Milestone]:
    """The last milestone of a tiny run of every kind."""
    found = {}
    for kind, (name, overrides) in KINDS.items():
        network_given = {"model.backbone": str(network)} if "model.backbone" in overrides else {}
        milestones, _ = finish(tiny(name, **{**SHORT, **overrides, **network_given}), cache)
        found[kind] = milestones[-1]
    return found


# What the list says


def test_every_metric_has_a_unit_a_label_and_a_meaning() -> None:
    for key, metric in METRICS.items():
        assert re.fullmatch(r"[a-z_]+/[a-z0-9_*]+", key), key
        assert metric.unit and metric.label and metric.description, key


def test_no_metric_is_listed_twice() -> None:
    assert len(RUN_METRICS) + len(PROBE_METRICS) == len(METRICS)


def test_an_objective_has_a_direction_and_one_per_token_names_what_to_take_instead() -> None:
    objectives = {key: metric for key, metric in METRICS.items() if metric.role == "objective"}
    assert len(objectives) > 10 and all(metric.direction for metric in objectives.values())
    assert {k for k, m in objectives.items() if m.per == "token"} == {k for k, m in METRICS.items() if m.instead}
    assert all(objectives[m.instead].per != "token" for m in objectives.values() if m.instead)


def test_the_rate_to_show_is_the_joint_one_where_all_sides_have_it() -> None:
    old, new = {"rate/bits_per_token": 3.0}, {"rate/bits_per_token": 3.0, "rate/joint_bits_per_token": 2.0}
    assert common_rate(new, new) == ("rate/joint_bits_per_token", "joint rate")
    assert common_rate(new, old) == ("rate/bits_per_token", "upper bound")
    assert common_rate(new, {}) is None and common_rate() is None
    assert common_rate({"VAR/rate/bits_per_token": 1.0}, test="VAR") == ("VAR/rate/bits_per_token", "upper bound")


# What runs produce


def test_runs_of_every_kind_produce_the_list(last: dict[str, Milestone]) -> None:
    produced = {key for milestone in last.values() for key in milestone.metrics} | set(SystemMetrics().read())
    assert {key for key in produced if find(key) is None} == set()
    listed = {find(key).key for key in produced}
    absent = {key for key in METRICS if key not in listed}
    assert absent == {key for key, metric in METRICS.items() if metric.when in OTHERWISE} - listed
    assert "soft/nll" in produced, "a quantizer with a continuous form is among the runs"


def test_what_has_no_condition_is_in_every_run(last: dict[str, Milestone]) -> None:
    always = {key for key, metric in METRICS.items() if not metric.when}
    for kind, milestone in last.items():
        assert always - set(milestone.metrics) == set(), kind


def test_runs_produce_a_metric_only_if_they_have_what_it_needs(last: dict[str, Milestone]) -> None:
    needing = {key: metric.needs for key, metric in METRICS.items() if metric.needs}
    assert {path for needs in needing.values() for path in needs} == set(NEEDS)
    for kind, milestone in last.items():
        name, overrides = KINDS[kind]
        given = {path: value for path, value in overrides.items() if value != "NETWORK"}
        network = {"model.backbone": "network"} if "NETWORK" in overrides.values() else {}
        spec = tiny(name, **{**SHORT, **given, **network})
        met = {key for key, needs in needing.items() if all(NEEDS[path].is_met(spec, path) for path in needs)}
        may_lack = {key for key in met if METRICS[key].when in OTHERWISE}
        assert met - may_lack <= set(milestone.metrics) & set(needing) <= met, kind


def test_without_decoding_exactly_the_decoded_metrics_are_gone(cache: Path, last: dict[str, Milestone]) -> None:
    milestones, _ = finish(tiny("t5vqvae", **{**SHORT, "evaluate.num_generated": 0}), cache)
    missing = set(last["t5vqvae"].metrics) - set(milestones[-1].metrics)
    assert missing == {key for key, metric in METRICS.items() if metric.needs == ("evaluate.num_generated",)}


def test_the_test_split_has_the_counterpart_of_every_evaluated_metric(cache: Path, last: dict[str, Milestone]) -> None:
    for kind in ("prompts", "quantizer soft"):
        name, overrides = KINDS[kind]
        tested = evaluate_test(last[kind].state.model, tiny(name, **{**SHORT, **overrides}), cache).metrics
        assert all(is_on_test(key) and find(key) for key in tested)
        evaluated = {key for key in last[kind].metrics if key in METRICS and METRICS[key].is_evaluated}
        assert {on_test(key) for key in evaluated} <= set(tested)
        assert {"test/rate/joint_bits_per_token", "test/rate/prior_bits_per_token"} <= set(tested)
        assert "test/rate/bits_per_token" in tested and ("test/soft/nll" in tested) == (kind == "quantizer soft")


# Who names a metric


def named(text: str) -> Iterator[str]:
    """Yields every word of a text that reads like the key of a metric."""
    splits = {metric.split for metric in METRICS.values()} | {"test", "VAR", "soft", "tokens", "best"}
    pattern = rf"(?<![\w/.-])((?:{'|'.join(sorted(splits))})/[\w/*]+)"
    return iter(re.findall(pattern, text.replace("{index}", "0")))


@pytest.mark.parametrize("folder", ["t5vqvae", "tune", "cluster"])
def test_every_key_in_sources_and_studies_is_on_the_list(folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".yaml")]
    unknown = {(file.name, key) for file in files for key in named(file.read_text()) if find(key) is None}
    assert len(files) > 2
    assert unknown == set()


def test_a_key_that_is_not_on_the_list_is_seen() -> None:
    text = 'metrics["validation/nlll"] = metrics["validation/nll"]  # test/rate/bits, f"system/gpu_{index}_heat"'
    assert [key for key in named(text) if find(key) is None] == [
        "validation/nlll",
        "test/rate/bits",
        "system/gpu_0_heat",
    ]


def test_the_readme_names_metrics_of_the_list() -> None:
    assert [key for key in named((ROOT / "README.md").read_text()) if find(key) is None] == []


# Its functions


def test_families_repeat_metrics_under_another_first_part() -> None:
    assert find("test/nll") is find("VAR/nll") is find("soft/nll") is find("test/soft/nll") is METRICS["validation/nll"]
    assert find("test/rate/bits_per_token") is find("best/rate/bits_per_token") is METRICS["rate/bits_per_token"]
    assert find("tokens/train/nll") is METRICS["train/nll"]
    assert find("system/gpu_3_utilization_percentage") is METRICS["system/gpu_*_utilization_percentage"]
    assert [find(key) for key in ("validation/nlll", "var/nll", "nll", "test/", "system/gpu_3_heat")] == [None] * 5


def test_twins_have_their_tests_as_counterpart_and_tests_of_any_name_are_tests() -> None:
    assert on_test("validation_ood/nll_per_char") == "test_ood/nll_per_char"
    keys = ("VAR/rate/x", "LEN3/nll", "test/nll", "test_ood/nll", "test/VAR/nll", "validation/nll", "rate/x")
    sent = ("test/VAR/rate/x", "test/LEN3/nll", "test/nll", "test_ood/nll", "test/VAR/nll", "validation/nll", "rate/x")
    assert tuple(map(tracked, keys)) == sent and find("test/VAR/nll") is find("VAR/nll")
    assert (
        find("gate_ood/nll_per_char")
        is find("test_ood/nll_per_char")
        is find("VAR_HEBREW/nll_per_char")
        is METRICS["validation/nll_per_char"]
    )
    assert all(map(is_on_test, ("LEN3/nll", "VAR_HEBREW/nll", "test_ood/nll"))) and not is_on_test("validation_ood/nll")


def test_labels() -> None:
    assert label("rate/bits_per_token") == label("test/rate/bits_per_token") == "rate (upper bound), bits a token"
    assert (label("validation/nll"), label("mine/own/score")) == ("nll", "own/score")
    assert METRICS["validation/nll_per_char"].units == "nats a character"
    assert METRICS["codebook/usage"].units == "share"


def test_metrics_of_a_report_are_its_numbers_that_are_named_split_name() -> None:
    report = {
        "validation/nll": 1,
        "rate/bits_per_token": 8.5,
        "flag/done": True,
        "status": "running",
        "training_iteration": 3,
        "config/optim.learning_rate": 0.1,
        "tags": {"signature/collapse": "one code"},
        "note/text": "1.5",
    }
    found = metrics_of(report)
    assert found == {"validation/nll": 1.0, "rate/bits_per_token": 8.5}
    assert all(type(value) is float for value in found.values())


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = sys.modules["numpy"] = None
import t5vqvae.evaluation.metrics, tune.spec.objective
"""


def test_the_list_and_objectives_load_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
