"""What an ablation runs next, without Ray: every run once, in the order that the plan asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ablations import NEUTRAL, RENAMED, WORSE, ablation
from effects import loss

from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.findings import TAKEN, Findings
from tune.ablation.run_numbers import RunNumbers
from tune.ablation.run_queue import Job, RunQueue
from tune.records.record import TrialRecord
from tune.sampling.source import WAIT, NextTrial


def nowhere(run_id: str) -> None:
    return None


def identify(spec: RunSpec) -> str:
    return spec.run_id("data", "float32")


def queue_of(spec: AblationSpec, folder: Path, records: dict[int, TrialRecord], find=nowhere) -> RunQueue:
    numbering, base = RunNumbers(folder), spec.resolve_base()
    findings = Findings(spec, base, numbering.latest, records)
    return RunQueue(
        findings, numbering, identify=identify, find=find, keep=lambda job, r: records.update({job.number: r})
    )


def record_of(job: Job, spec: AblationSpec, status: str = "completed", value: float | None = None) -> TrialRecord:
    run_spec = spec.resolve_base().with_overrides(job.run.overrides)
    metrics = {"validation/nll_per_char": loss(run_spec) if value is None else value, "progress/step": 40.0}
    return TrialRecord(spec.name, job.number, dict(job.run.overrides), identify(run_spec), None, status, 40, metrics)


def drain(queue: RunQueue) -> list[Job]:
    """Returns the runs that can start now."""
    jobs: list[Job] = []
    queue.start = jobs.append
    while isinstance(queue.next(), NextTrial):
        pass
    return jobs


def finish(queue: RunQueue, spec: AblationSpec, records: dict, end: Callable[[Job], TrialRecord] | None = None) -> list:
    """Runs everything, as many at once as can start; returns the jobs."""
    jobs = []
    while not queue.finished:
        now = drain(queue)
        assert now or queue.finished, "nothing runs and nothing can start"
        for job in now:
            records[job.number] = end(job) if end else record_of(job, spec)
        jobs += now
    return jobs


def test_an_arm_is_compared_on_a_seed_as_soon_as_it_is_tuned_for_it(tmp_path):
    spec, records = ablation(arms=[WORSE, NEUTRAL]), {}
    queue = queue_of(spec, tmp_path, records)
    tuning = drain(queue)
    assert len(tuning) == 3 * 2 * 8 and {job.run.phase for job in tuning} == {"tuning"}
    assert [job.run.seed for job in tuning] == sorted(job.run.seed for job in tuning), "seed by seed"
    assert {(job.run.seed, job.run.tunes) for job in tuning} == {(1000 + seed, seed) for seed in range(8)}
    assert queue.next() is WAIT and not queue.finished
    for job in tuning:
        if job.run.arm == "worse" and job.run.tunes in (3, 5):
            records[job.number] = record_of(job, spec)
    compared = drain(queue)
    assert [job.run.key for job in compared] == ["worse/comparison/3", "worse/comparison/5"]
    assert {job.run.overrides["optim.learning_rate"] for job in compared} == {2e-3}, "the candidate that did best"
    assert compared[0].tags == {"arm": "worse", "seed": "3", "phase": "comparison"}
    assert tuning[0].tags == {"arm": "baseline", "seed": "1000", "phase": "tuning", "candidate": "0", "tunes": "0"}


def test_each_seed_runs_with_its_own_best_candidate_and_a_shared_tuning_gives_one_to_all(tmp_path):
    for way, num in (("per_seed", 8), ("shared", 1)):
        spec, records = ablation(arms=[WORSE], tuning=way, trials_per_arm=4), {}
        queue = queue_of(spec, tmp_path / way, records)

        def end(job: Job, spec: AblationSpec = spec) -> TrialRecord:
            lucky = job.run.phase == "tuning" and job.run.trial == job.run.seed % 4
            return record_of(job, spec, value=0.0 if lucky else 1.0)

        jobs = finish(queue, spec, records, end)
        rates = {(j.run.arm, j.run.seed, j.run.trial): j.run.overrides["optim.learning_rate"] for j in jobs}
        for arm in ("baseline", "worse"):
            for seed in range(8):
                tuned_on = 1000 + (seed if way == "per_seed" else 0)
                assert rates[arm, seed, None] == rates[arm, tuned_on, tuned_on % 4]
        assert sum(job.run.phase == "tuning" for job in jobs) == 2 * 4 * num


def test_a_sequential_plan_tunes_only_for_the_seeds_that_it_releases(tmp_path):
    spec = ablation(arms=[WORSE], sequential={"looks": [5, 8], "futility": None}, test="t")
    records: dict[int, TrialRecord] = {}
    jobs = finish(queue_of(spec, tmp_path, records), spec, records)
    assert {job.run.tunes for job in jobs if job.run.phase == "tuning"} == set(range(5))
    assert {job.run.seed for job in jobs if job.run.phase == "comparison"} == set(range(5))


def test_a_comparison_whose_arm_is_tuned_again_does_not_count_until_then(tmp_path):
    spec, records = ablation(arms=[WORSE]), {}
    finish(queue_of(spec, tmp_path, records), spec, records)
    wider = ablation(arms=[WORSE], trials_per_arm=3)
    queue = queue_of(wider, tmp_path, records)
    assert queue._look().rows() == []
    finish(queue, wider, records)
    assert len(queue._look().rows()) == 2 * 8


def test_a_run_of_the_same_id_is_trained_once_and_says_where_it_is_from(tmp_path):
    spec, records = ablation(arms=[WORSE, RENAMED]), {}
    queue = queue_of(spec, tmp_path, records)
    jobs = finish(queue, spec, records)
    assert {job.run.arm for job in jobs} == {"baseline", "worse"} and len(jobs) == 2 * (2 + 1) * 8
    assert len(records) == 3 * (2 + 1) * 8
    taken = [record for record in records.values() if TAKEN in record.tags]
    assert len(taken) == (2 + 1) * 8 and all(record.seconds == 0 for record in taken)
    comparison = queue._look().comparison()
    assert comparison.arm("renamed").effect.mean == 0 and comparison.arm("renamed").verdict == "equivalent"
    assert comparison.arm("worse").verdict == "worse"


def test_results_from_elsewhere_are_taken(tmp_path):
    spec, records = ablation(arms=[WORSE]), {}

    def find(run_id: str) -> TrialRecord:
        metrics = {"validation/nll_per_char": 1.0}
        return TrialRecord("other", 9, {}, run_id, "m1", "completed", 40, metrics, tags={TAKEN: "study other, run 9"})

    queue = queue_of(spec, tmp_path, records, find)
    assert queue.next() is None and queue.finished
    assert {record.tags[TAKEN] for record in records.values()} == {"study other, run 9"}
    assert {record.study for record in records.values()} == {spec.name} and len(records) == 2 * (2 + 1) * 8


def test_results_that_a_user_brings_are_asked_for_by_both_ids_and_come_last(tmp_path):
    spec, records, asked = ablation(arms=[WORSE]), {}, set()
    base = spec.resolve_base()

    def result(run_id: str, origin: str) -> TrialRecord:
        metrics = {"validation/nll_per_char": 1.0}
        return TrialRecord("other", 9, {}, run_id, None, "completed", 40, metrics, tags={TAKEN: origin})

    def bring(run_id: str, settings_id: str) -> TrialRecord:
        asked.add((run_id, settings_id))
        return result(run_id, "brought")

    known = identify(base.with_overrides(drain(queue_of(spec, tmp_path / "first", {}))[0].run.overrides))
    queue = queue_of(spec, tmp_path, records, lambda run_id: result(run_id, "found") if run_id == known else None)
    queue.settings_id, queue.bring = lambda each: each.settings_id("data", "float32"), bring
    assert queue.next() is None and queue.finished
    assert {record.run_id for record in records.values() if record.tags[TAKEN] == "found"} == {known}
    runs = [base.with_overrides(record.overrides) for record in records.values() if record.run_id != known]
    assert asked == {(identify(run), run.settings_id("data", "float32")) for run in runs}
    settings_ids = RunNumbers(tmp_path).settings_ids
    assert all(
        settings_ids[n] == base.with_overrides(r.overrides).settings_id("data", "float32") for n, r in records.items()
    ), "on the disk"


def test_a_line_of_an_older_version_has_no_settings_id_and_keeps_its_number(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"number": 4, "key": "a/comparison/0", "run_id": "0123"}\n')
    numbering = RunNumbers(tmp_path)
    assert numbering.number("a/comparison/0", "0123", "ssss") == 4 and numbering.settings_ids == {}
    assert numbering.number("a/comparison/0", "4567", "ssss") == 5 and numbering.settings_ids == {5: "ssss"}
    assert RunNumbers(tmp_path).settings_ids == {5: "ssss"}


def test_a_second_start_gives_the_same_numbers_and_what_is_left(tmp_path):
    spec, records = ablation(arms=[WORSE]), {}
    first = drain(queue_of(spec, tmp_path, records))
    records[first[0].number] = record_of(first[0], spec)
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"number": 99, "ke')  # torn by a kill
    again = queue_of(spec, tmp_path, records)
    assert [(job.number, job.run.key) for job in drain(again)] == [(job.number, job.run.key) for job in first[1:]]
    records |= {job.number: record_of(job, spec) for job in first}
    finish(again, spec, records)
    assert sorted(records) == list(range(2 * (2 + 1) * 8))


def test_an_arm_that_means_something_else_now_runs_again_under_new_numbers(tmp_path):
    spec, records = ablation(arms=[WORSE]), {}
    finish(queue_of(spec, tmp_path, records), spec, records)
    edited = ablation(arms=[{**WORSE, "overrides": {"optim.beta1": 0.8}}])
    queue = queue_of(edited, tmp_path, records)
    jobs = finish(queue, edited, records)
    assert {job.run.arm for job in jobs} == {"worse"} and len(jobs) == (2 + 1) * 8
    assert len(queue.numbering.superseded) == (2 + 1) * 8
    assert abs(queue._look().comparison().arm("worse").effect.mean - 0.1) < 0.01


def test_more_seeds_run_only_what_is_new(tmp_path):
    spec, records = ablation(arms=[WORSE], seeds=6), {}
    finish(queue_of(spec, tmp_path, records), spec, records)
    longer = ablation(arms=[WORSE], seeds=8)
    jobs = finish(queue_of(longer, tmp_path, records), longer, records)
    assert {job.run.seed for job in jobs} == {6, 7, 1006, 1007} and len(jobs) == 2 * 2 * (2 + 1)


def test_an_arm_none_of_whose_candidates_completes_is_compared_as_it_is_and_reported(tmp_path):
    spec, records = ablation(arms=[WORSE]), {}
    queue = queue_of(spec, tmp_path, records)

    def end(job: Job) -> TrialRecord:
        return record_of(job, spec, "diverged" if job.run.arm == "worse" else "completed")

    finish(queue, spec, records, end)
    findings = queue._look()
    assert findings.tuned["worse"] == {seed: {} for seed in range(8)}
    assert any("worse: no tuning run completed" in note for note in findings.notes())
    arm = findings.comparison().arm("worse")
    assert arm.effect is None and arm.verdict == "unstable" and arm.diverged == tuple(range(8))


def test_a_sequential_plan_stops_an_arm_whose_answer_is_known_whatever_ends_first(tmp_path):
    settings = {"arms": [WORSE, NEUTRAL], "sequential": {"looks": [5, 8], "futility": None}, "test": "t"}
    spec = ablation(**settings)
    ran = {}
    for order in (1, -1):
        records: dict[int, TrialRecord] = {}
        queue, jobs = queue_of(spec, tmp_path / str(order), records), []
        waiting = drain(queue)
        while waiting:
            job = waiting.pop(0 if order == 1 else -1)
            records[job.number] = record_of(job, spec)
            jobs.append(job)
            waiting += drain(queue)
        assert queue.finished
        ran[order] = {job.run.key for job in jobs if job.run.phase == "comparison"}
        comparison = queue._look().comparison()
        assert comparison.arm("worse").stopped_at == 5 and comparison.arm("worse").verdict == "worse"
    assert ran[1] == ran[-1]
    assert {key for key in ran[1] if key.startswith("worse/")} == {f"worse/comparison/{seed}" for seed in range(5)}
    assert len({key for key in ran[1] if key.startswith("neutral/")}) == 8
