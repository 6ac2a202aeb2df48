"""Ablations on a real Ray cluster, with a trainer of milliseconds that has planted effects; killed, and done again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import recompute
from ablations import RATE, RENAMED, WORSE, ablation
from effects import TRAINER

from t5vqvae.errors import UserError
from tune.ablate import ablate
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.findings import ANOTHER_VERSION, TAKEN, write_parquet
from tune.ablation.history import read_findings
from tune.cli import main
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of

pytestmark = pytest.mark.ray
DIVERGES = {"name": "diverges", "overrides": {"optim.weight_decay": 0.25}}
BREAKS = {"name": "breaks", "overrides": {"optim.weight_decay": 0.5}}


def starts(state: Path) -> int:
    log = state / "starts.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def mlflow_runs(spec: AblationSpec, state: Path) -> tuple[Any, list[Any]]:
    """Returns the study's run in MLflow and its children."""
    from mlflow import MlflowClient

    client = MlflowClient(tracker_of(spec, StudyPaths(state, spec.name)).uri)
    runs = list(client.search_runs([client.get_experiment_by_name(spec.name).experiment_id], max_results=1000))
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in runs if run is not parents[0]]


def test_an_ablation_end_to_end_and_again(state):
    spec = ablation(arms=[WORSE, RENAMED, DIVERGES], seeds=7)
    result = ablate(spec, state=state, trainer=TRAINER)
    worse, renamed, diverges = result.comparison.arms
    assert worse.verdict == "worse" and worse.effect.low < 0.05 < worse.effect.high
    assert renamed.verdict == "equivalent" and diverges.verdict == "unstable" and diverges.effect is None
    assert worse.secondary["cost/step_seconds"].mean == 0 and worse.secondary["rate/bits_per_token"].num_seeds == 7
    assert result.stopped is None and {record.status for record in result.records} == {"completed", "diverged"}

    parent, children = mlflow_runs(spec, state)
    assert parent.info.status == "FINISHED" and parent.data.tags["verdict/worse"] == "worse"
    said = {(r.data.tags["arm"], r.data.tags["phase"], r.data.tags["seed"]) for r in children}
    assert len(children) == 4 * (2 + 1) * 7 == len(result.records) and len(said) == 4 * (1 + 1) * 7
    tuning = [run.data.tags for run in children if run.data.tags["phase"] == "tuning"]
    assert all(int(tags["seed"]) == 1000 + int(tags["tunes"]) for tags in tuning)
    assert {run.info.status for run in children} == {"FINISHED", "FAILED"}
    assert sum(TAKEN in run.data.tags for run in children) == 3 * 7, "the renamed arm was not trained"
    assert {run.info.run_id for run in children} == {record.mlflow_id for record in result.records}
    assert_recomputed(spec, state)
    assert_wrong_tuning_is_found(spec, state)

    trained = starts(state)
    again = ablate(spec, state=state, trainer=TRAINER)
    assert starts(state) == trained and again.comparison == result.comparison
    assert len(mlflow_runs(spec, state)[1]) == len(children)


def assert_recomputed(spec: AblationSpec, state: Path) -> None:
    """MLflow's runs alone, through a script that knows nothing of `tune`, give the report's numbers."""
    paths = StudyPaths(state, spec.name)
    arms = [arm.name for arm in spec.arms if arm.name != "diverges"]
    stored = recompute.read(tracker_of(spec, paths).uri, spec.name)
    assert not spec.arms or recompute.arms(stored).keys() == set(arms)
    assert recompute.differing(stored, paths.root / "report") == []


def assert_wrong_tuning_is_found(spec: AblationSpec, state: Path) -> None:
    """The script notices a run that has the settings of another seed's tuning, and one whose tuning is not there."""
    stored = recompute.read(tracker_of(spec, StudyPaths(state, spec.name)).uri, spec.name)
    assert recompute.wrongly_tuned(stored) == []
    moved = next(run for run in stored.runs if run.data.tags["arm"] == "worse")
    moved.data.params["optim.learning_rate"] = "0.5"
    (line,) = recompute.wrongly_tuned(stored)
    assert line.startswith(f"worse, seed {moved.data.tags['seed']}: ['optim.learning_rate']")
    stored.tuning.remove(next(run for run in stored.tuning if run.data.tags["arm"] == "renamed"))
    assert len(recompute.wrongly_tuned(stored)) == 2


def test_its_report_is_written_logged_and_written_again(state, capsys, tmp_path):
    spec = ablation(arms=[WORSE, RENAMED, DIVERGES], seeds=7)
    result = ablate(spec, state=state, trainer=TRAINER)
    names = {path.name for path in result.files}
    assert names == {"report.html", "report.md", "effects.csv", "runs.csv", "effects.tex", "runs.parquet"}
    logged = tracker_of(spec, StudyPaths(state, spec.name)).destination.client.list_artifacts(
        result.mlflow_parent_id, "report"
    )
    assert {Path(file.path).name for file in logged} == names
    assert main(["report", spec.name, "--state", str(state), "--into", str(tmp_path)]) == 0
    for name in ("report.md", "effects.csv", "runs.csv"):
        assert (tmp_path / name).read_text() == (StudyPaths(state, spec.name).root / "report" / name).read_text()

    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert len(rows) == len(result.records) and {row["phase"] for row in rows} == {"tuning", "comparison"}
    assert all(row[TAKEN] for row in rows if row["arm"] == "renamed")
    tuned_on = {(row["tunes"], row["seed"]) for row in rows if row["phase"] == "tuning"}
    assert tuned_on == {(seed, 1000 + seed) for seed in range(7)}
    compared = [row for row in rows if row["arm"] == "worse" and row["phase"] == "comparison"]
    rates = [json.loads(row["overrides"])["optim.learning_rate"] for row in compared]
    assert result.tuned["worse"] == {seed: {"optim.learning_rate": rate} for seed, rate in enumerate(rates)}
    for name in ("report.md", "report.html"):
        cells = [f"{rate:.3g}" for rate in rates]
        text = (tmp_path / name).read_text().replace('</td><td class="n">', " | ").replace("\\_", "_")
        assert f"optim.learning_rate | {' | '.join(cells)}" in text, name
    assert all(row["validation/nll_per_char"] for row in rows if row["status"] == "completed")


def test_another_study_takes_what_is_there_from_records_or_from_mlflow(state):
    trained = starts(state)
    first = ablate(ablation("first", arms=[WORSE], seeds=8), state=state, trainer=TRAINER)
    new = 2 * (2 + 1) * 4  # one new seed, two arms, two candidates and the comparison, four milestones
    assert starts(state) == trained + new
    taken = [record.tags[TAKEN] for record in first.records if TAKEN in record.tags]
    assert len(taken) == 2 * (2 + 1) * 7 and all(origin.startswith("study planted, run ") for origin in taken)

    for study in ("planted", "first"):
        shutil.rmtree(StudyPaths(state, study).root)
    second = ablate(ablation("second", arms=[WORSE], seeds=8), state=state, trainer=TRAINER)
    assert starts(state) == trained + new
    assert all(record.tags[TAKEN].startswith("MLflow run ") for record in second.records)
    assert second.comparison.arm("worse").effect == first.comparison.arm("worse").effect


def test_a_study_goes_on_from_the_parquet_of_another_machine_and_version(state, tmp_path):
    import pyarrow.parquet

    first = ablate(ablation("moved", arms=[WORSE], seeds=7), state=state, trainer=TRAINER)
    rows = pyarrow.parquet.read_table(next(path for path in first.files if path.suffix == ".parquet")).to_pylist()
    older = [{**row, "run_id": f"older {row['number']}"} for row in rows]  # as another version of the trainer would
    brought, here = write_parquet(older, tmp_path / "runs.parquet"), tmp_path / "here"

    second = ablate(ablation("moved", arms=[WORSE], seeds=8), state=here, trainer=TRAINER, brought=brought)
    paths = StudyPaths(here, "moved")
    new = 2 * (2 + 1) * 4  # one new seed, two arms, two candidates and the comparison, four milestones
    assert starts(here) == new, "nothing else was trained"
    taken = {record.tags[TAKEN] for record in second.records if TAKEN in record.tags}
    assert len(taken) == 2 * (2 + 1) * 7 and all(origin.startswith("study moved, run ") for origin in taken)
    said = f"42 runs were not trained again, because their results existed, 42 of them {ANOTHER_VERSION}"
    assert said in second.report.markdown() and "worse: its runs" not in second.report.markdown()
    assert {row["settings_id"] for row in rows} < {row["settings_id"] for row in read_findings(paths)[0].table()}
    assert {seed: second.tuned["worse"][seed] for seed in range(7)} == first.tuned["worse"]


def test_a_broken_arm_is_missing_data_and_is_tried_again_at_the_next_start(state):
    spec = ablation("broken", arms=[WORSE, BREAKS], seeds=7, tuning="shared")
    result = ablate(spec, state=state, trainer=TRAINER)
    assert result.comparison.arm("breaks").missing == tuple(range(7))
    assert result.comparison.arm("worse").verdict == "worse"
    trained = starts(state)
    again = ablate(spec, state=state, trainer=TRAINER)
    assert starts(state) - trained == 2 * (2 + 7), "each failed run anew, to where it breaks"
    assert len(again.records) == len(result.records)


def test_a_study_whose_first_runs_all_fail_is_stopped(state):
    spec = ablation("hopeless", arms=[WORSE], base={"optim.weight_decay": 0.5})
    result = ablate(spec, state=state, trainer=TRAINER)
    assert "runs failed before one worked" in result.stopped and len(result.records) < 20
    assert StudyPaths.existing(state, "hopeless", ablations=True), "other commands know it before a run has worked"
    again = ablate(ablation("hopeless", arms=[WORSE], seeds=7), state=state, trainer=TRAINER)
    assert not any("changed after the first start" in note for note in again.report.notes), "nothing had been seen"


def test_a_factorial_reports_main_effects_and_interactions(state):
    factors = {"optim.beta1": [0.85], "optim.beta2": [0.99]}
    spec = ablation("factorial", arms=None, design={"name": "factorial", "factors": factors}, seeds=7, tuning="shared")
    result = ablate(spec, state=state, trainer=TRAINER)
    found = {effect.factors: effect for effect in result.effects}
    assert (
        found["optim.beta1",].effect.mean == pytest.approx(0.05, abs=0.005) and found["optim.beta1",].p_adjusted < 0.05
    )
    assert found["optim.beta2",].effect.mean == pytest.approx(0, abs=1e-9)
    assert_recomputed(spec, state)
    assert "## Factors" in (StudyPaths(state, "factorial").root / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"resources": {"gpus": 1}, "base": {"train.device": "auto"}}, "is more than the cluster's 0 GPUs"),
        ({"tracking": {"uri": "http://127.0.0.1:9"}}, "127.0.0.1:9"),
        ({"baseline": {"study": "nowhere"}}, "baseline.study: there is no study nowhere under"),
        ({"runner": "process", "resources": {"workers": 2}}, "runner=process takes one worker"),
        (
            {
                "arms": None,
                "design": {"name": "factorial", "factors": {"optim.beta1": [0.85], "optim.beta2": [0.99]}},
                "sequential": {"looks": [4, 8]},
            },
            "a factorial needs all its cells",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_run(state, settings, reason):
    before = starts(state)
    with pytest.raises(UserError, match=reason):
        ablate(ablation("refused", **settings), state=state, trainer=TRAINER)
    assert starts(state) == before and not StudyPaths(state, "refused").trials.exists()


def test_the_command_prints_a_plan_and_refuses_in_one_line(state, tmp_path, capsys):
    import yaml

    path = tmp_path / "mine.yaml"
    values = {"question": "?", "arms": [WORSE], "seeds": 6, "nuisance": RATE, "trials_per_arm": 3}
    path.write_text(yaml.safe_dump({**values, "objective": {"metric": "validation/nll_per_char"}}))
    assert main(["ablate", str(path), "--dry-run", "budget.step_seconds=0.1", "--state", str(state)]) == 0
    assert "48 runs, 48 of them different" in capsys.readouterr().out
    assert main(["ablate", str(path), "optim.learning_rat=1", "--state", str(state)]) == 2
    error = capsys.readouterr().err
    assert "did you mean" in error and error.count("\n") == 1
    assert main(["ablate", "nosuchablation", "--state", str(state)]) == 2
    assert "nosuchablation" in capsys.readouterr().err


os.environ.setdefault("OMP_NUM_THREADS", "1")
