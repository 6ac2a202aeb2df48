"""A run resumes on the data and the backbone that it was trained on; another content of them is another run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import defaults
import pytest
import torch
from baseline_runs import TINY, tiny
from rich.console import Console

from t5vqvae.data import prepare
from t5vqvae.errors import CheckpointError, UserError
from t5vqvae.files import held
from t5vqvae.runs.follow import follow
from t5vqvae.runs.in_process import run_here, short_name
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec, _chosen
from t5vqvae.training import checkpoint

WORDS = ["ash", "bay", "cod", "dew", "elm", "fog", "gum", "hay", "ivy", "jay"]


def text(path: Path, words: list[str]) -> Path:
    path.write_text("".join(f"{a} {b} {c} {d}\n" for a in words for b in words for c in words for d in words[:2]))
    return path


def spec_of(path: Path, **overrides: object) -> RunSpec:
    base = RunSpec().with_overrides(TINY) if "model.backbone" in overrides else tiny("t5vqvae")
    spec = base.with_overrides({"data.corpus.name": "text", "data.corpus.path": str(path)})
    small = {"data.tokenizer.kind": "latex", "evaluate.num_generated": 0, "evaluate.num_examples": 10}
    return spec.with_overrides({**small, "train.eval_every": 2, "train.max_steps": 4, **overrides})


def trained(spec: RunSpec, state: Path, into: Path | None = None) -> str:
    """Trains on this machine; returns what was printed."""
    console = Console(file=io.StringIO(), width=500)
    assert run_here(spec, into, state, console)
    return console.file.getvalue()


def fingerprints(state: Path, spec: RunSpec) -> dict[str, str]:
    folders = (state / "runs").glob(f"{short_name(spec)}*")
    newest = {folder.name: checkpoint.latest(folder) for folder in folders}
    return {name: checkpoint.read_milestone(path)["data_fingerprint"] for name, path in newest.items() if path}


def test_the_same_command_on_a_changed_file_trains_its_own_run(tmp_path: Path) -> None:
    corpus = text(tmp_path / "my.txt", WORDS)
    spec = spec_of(corpus)
    trained(spec, tmp_path)
    first = fingerprints(tmp_path, spec)
    text(corpus, WORDS[::-1])
    said = trained(spec, tmp_path)
    assert "trained on another content of the data" in said and "step      2" in said, "nothing was trained"
    both = fingerprints(tmp_path, spec)
    assert len(both) == 2 and first.items() < both.items() and len(set(both.values())) == 2
    assert "step      2" not in trained(spec, tmp_path), "its own run has ended"
    text(corpus, WORDS)
    assert "another content" not in trained(spec, tmp_path)
    assert fingerprints(tmp_path, spec) == both


def test_a_killed_run_never_resumes_on_other_data(tmp_path: Path) -> None:
    corpus = text(tmp_path / "my.txt", WORDS)
    run = TrackedRun(spec_of(corpus), tmp_path / "run", tmp_path / "cache", "runs/run")
    killed = follow(run)
    assert next(killed).metrics["progress/step"] == 2
    killed.close()
    text(corpus, WORDS[:5])
    with pytest.raises(CheckpointError, match=r"belongs to another content of the data .*my\.txt"):
        trained(run.spec, tmp_path, tmp_path / "run")
    assert [report.metrics["progress/step"] for report in follow(run)] == [2, 4], "a trial starts anew"
    stored = checkpoint.read_milestone(tmp_path / "run" / "step-00000004")
    assert stored["data_fingerprint"] == prepare(run.spec.data, tmp_path / "cache").fingerprint


def test_changed_weights_of_a_backbone_are_another_run(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    corpus, folder = text(tmp_path / "my.txt", WORDS), tmp_path / "backbone"
    own = prepare(spec_of(corpus).data, tmp_path / "cache").tokenizer
    own.save_pretrained(folder)
    sizes = {"vocab_size": len(own), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    backbone = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))
    backbone.save_pretrained(folder)
    spec = spec_of(corpus, **{"model.backbone": str(folder), "data.tokenizer.kind": "auto"})
    run_ids = {spec.run_id("", "float32")}
    trained(spec, tmp_path)
    torch.nn.init.normal_(backbone.shared.weight)
    backbone.save_pretrained(folder)
    run_ids.add(spec.run_id("", "float32"))
    said = trained(spec, tmp_path)
    assert "another content of the backbone" in said and "step      2" in said
    assert len(run_ids) == 2, "an ablation would take the old result"


def test_settings_at_their_defaults_do_not_count_in_a_settings_id() -> None:
    def of(**overrides: object) -> str:
        return RunSpec().with_overrides(overrides).settings_id("data", "float32")

    whole, plain = RunSpec(), of()
    chosen = _chosen(whole, whole.as_dict(only_results=True))
    assert "decay" not in chosen["quantizer"] and chosen["quantizer"]["name"] == whole.quantizer.name
    assert "learning_rate" not in chosen["optim"], "so a setting that a later version adds changes nothing"
    assert of(**{"optim.learning_rate": whole.optim.learning_rate}) == plain
    assert of(**{"train.num_workers": 2}) == plain, "it cannot change a result"
    different = [of(**{"optim.learning_rate": 0.1}), of(**{"quantizer.name": "vq"}), of(seed=5)]
    different += [RunSpec().settings_id("other", "float32"), RunSpec().settings_id("data", "bfloat16"), plain]
    assert len(set(different)) == 6


def test_a_changed_default_needs_a_new_version_of_the_defaults() -> None:
    recorded, now = json.loads(defaults.FILE.read_text(encoding="utf-8")), json.loads(json.dumps(defaults.present()))
    changed = {name for name, value in recorded.items() if name != "version" and now.get(name, value) != value}
    assert not changed or now["version"] > recorded["version"], f"raise DEFAULTS_VERSION: {sorted(changed)}"
    assert now == recorded, "record the defaults anew: python tests/support/defaults.py"


def test_one_folder_is_trained_by_one_command_at_a_time(tmp_path: Path) -> None:
    spec = spec_of(text(tmp_path / "my.txt", WORDS))
    with (
        held(tmp_path / "run" / "lock", "x", "y"),
        pytest.raises(UserError, match=r"the run in .* is trained by process \d+ on .*; wait for it"),
    ):
        trained(spec, tmp_path, tmp_path / "run")
