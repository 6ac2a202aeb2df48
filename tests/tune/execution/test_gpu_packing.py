"""Trials share a GPU by the memory of the first one, and one that has too little of it goes on with more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dead_workers import dead
from numbers_source import Numbers
from places import SUPPORT
from ray.tune.search import Searcher

from t5vqvae.errors import SettingError
from t5vqvae.runs.attempt import OUT_OF_MEMORY, Attempt, share_of, sharers
from t5vqvae.spec.run import RunSpec
from tune.execution.asha import RunToCompletion
from tune.execution.gpu_memory import FILE, LATEST, MOST, MemorySeen, first_attempt, seen_also
from tune.execution.gpu_packing import GPUPackingSearcher
from tune.execution.trial import ATTEMPT, PLAN, TrialPlan, process_resources
from tune.records.study_paths import CODE_ROOT, StudyPaths
from tune.spec.sections import Resources

SPEC = RunSpec().with_overrides({"train.batch_size": 4})


def told(reserved: float, outside: float = 500.0, device: float = 16_000.0) -> dict[str, float]:
    return {
        "cost/reserved_memory_mb": reserved,
        "cost/outside_memory_mb": outside,
        "cost/device_memory_mb": device,
    }


def seen_of(*reserved: float) -> MemorySeen:
    return MemorySeen(dict(enumerate(reserved)), 500, 16_000)


# The decisions


@pytest.mark.parametrize(
    ("reserved", "expected"),
    [
        ([3_000], 4),  # 3,800 MB each
        ([6_800], 2),  # 7,980
        ([7_000], 1),  # 8,200
        ([40_000], 1),
        ([10], MOST),
        ([3_000, 3_000, 3_000, 40_000], 4),  # three of four fit
        ([3_000, 3_000, 40_000], 1),
        ([6_000, 3_000, 3_000, 6_000, 6_000, 3_000, 40_000, 6_000], 2),
    ],
)
def test_as_many_share_a_gpu_as_three_trials_of_four_allow(reserved: list[float], expected: int) -> None:
    assert seen_of(*reserved).per_gpu == expected


def test_the_most_of_each_trial_the_smallest_gpu_and_the_cleanest_look_beside_the_allocator_count() -> None:
    seen = seen_also(None, 0, told(3_000))
    seen = seen_also(seen, 0, told(2_000, outside=9_000))  # its neighbours' memory
    seen = seen_also(seen, 1, told(5_000, outside=7_000, device=24_000))
    seen = seen_also(seen, 2, {"validation/nll": 1.0})
    assert seen == MemorySeen({0: 3_000, 1: 5_000}, 500, 16_000)


def test_old_trials_are_forgotten() -> None:
    seen: MemorySeen | None = None
    for number in range(LATEST + 5):
        seen = seen_also(seen, number, told(40_000 if number < 5 else 3_000))
    assert seen is not None and len(seen.reserved_mb) == LATEST and set(seen.reserved_mb.values()) == {3_000}


def test_the_first_trial_is_alone_and_the_next_are_held_to_their_share() -> None:
    assert first_attempt(None, 1.0, packed=True) == Attempt(1.0)
    assert first_attempt(seen_of(3_000), 1.0, packed=True) == Attempt(0.25, limit_mb=3_500)
    assert first_attempt(seen_of(9_000), 1.0, packed=True) == Attempt(1.0)
    assert first_attempt(seen_of(3_000), 0.5, packed=False) == Attempt(0.5), "a number is kept"


@pytest.mark.parametrize("number", range(1, MOST + 1))
def test_shares_fill_a_gpu_and_no_more(number: int) -> None:
    assert number * share_of(number) <= 1 and sharers(share_of(number)) == number
    assert round(share_of(number) * 10_000) == pytest.approx(share_of(number) * 10_000), "Ray knows no finer part"


def test_less_packing_comes_first_then_micro_batches_then_nothing() -> None:
    attempt, asked = Attempt(share_of(5), limit_mb=2_700), []
    spec = SPEC
    while (following := attempt.next(spec, 10)) is not None:
        asked.append((following.gpus, following.microbatches))
        attempt = following
        spec = SPEC.with_overrides({"train.microbatches": following.microbatches or 1})
    assert asked == [(share_of(3), None), (0.5, None), (1.0, None), (1.0, 2), (1.0, 4)]
    assert attempt.tried[0] == "gpus=0.2 microbatches=1 after step 10" and len(attempt.tried) == 5
    assert attempt.limit_mb is None


def test_a_quantizer_that_takes_its_batch_whole_has_no_micro_batches() -> None:
    assert Attempt(1.0).next(RunSpec().with_overrides({"quantizer.name": "lfq"})) is None


def test_an_attempt_is_kept_in_the_folder(tmp_path: Path) -> None:
    attempt = Attempt(0.5, 2, 100.0, ("gpus=0.25 microbatches=1 after step 0",))
    assert Attempt.read(tmp_path) is None
    attempt.write(tmp_path)
    assert Attempt.read(tmp_path) == attempt


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"gpus": "most"}, "resources.gpus='most' must be a number of GPUs, 0 or more, or auto"),
        ({"gpus": -1}, "resources.gpus=-1 must be"),
        ({"gpus": True}, "gpus=true must be a number"),
        ({"gpus": "auto", "workers": 2}, "set resources.gpus=1"),
    ],
)
def test_gpus_that_cannot_be_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        Resources.parse(values)


# Giving trials out


def packed(tmp_path: Path, *, gpus: float = 1.0, measures: bool = True, total: float = 1.0) -> GPUPackingSearcher:
    paths = StudyPaths(tmp_path, "packed")
    paths.root.mkdir(parents=True, exist_ok=True)
    plan = TrialPlan("packed", SPEC, paths, gpus=gpus, packed=measures)
    return GPUPackingSearcher(Numbers(9), RunToCompletion(), plan, lambda: total)


def given(trials: GPUPackingSearcher, *ids: str) -> list[Any]:
    """The number and the GPUs of what each id was given; None where there was no room."""
    asked = [trials.suggest(trial_id) for trial_id in ids]
    return [(config["number"], config[ATTEMPT].gpus) if isinstance(config, dict) else config for config in asked]


def end(trials: GPUPackingSearcher, trial_id: str, status: str = "completed", **metrics: float) -> None:
    trials.on_trial_complete(trial_id, {"status": status, **metrics})


def test_nobody_joins_the_first_trial_and_four_follow_it(tmp_path: Path) -> None:
    trials = packed(tmp_path)
    assert given(trials, "a", "b") == [(0, 1.0), None]
    trials.on_trial_result("a", {"status": "running", **told(3_000)})
    assert given(trials, "b") == [None], "its GPU is its own to its end"
    end(trials, "a")
    assert given(trials, *"bcdef") == [(1, 0.25), (2, 0.25), (3, 0.25), (4, 0.25), None]
    trials.on_trial_result("b", {"status": "running", **told(6_500, outside=9_000)})
    for trial_id in "bcde":
        end(trials, trial_id)
    assert given(trials, *"fgh") == [(5, 0.5), (6, 0.5), None], "one of two is larger"
    assert given(packed(tmp_path), "a") == [(0, 0.5)], "the next start knows it"


def test_two_gpus_measure_two_trials(tmp_path: Path) -> None:
    assert given(packed(tmp_path, total=2.0), *"abc") == [(0, 1.0), (1, 1.0), None]


def test_out_of_memory_comes_again_with_a_larger_share_and_is_not_starved(tmp_path: Path) -> None:
    trials = packed(tmp_path, gpus=0.25, measures=False)
    assert given(trials, *"abcde") == [(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.25), None]
    Attempt(0.5, tried=("gpus=0.25 microbatches=1 after step 10",)).write(trials.plan.paths.trial(1))
    trials.on_trial_result("b", {"status": OUT_OF_MEMORY})
    end(trials, "b", OUT_OF_MEMORY)
    assert given(trials, "f") == [None], "a quarter is free, and trial 1 waits for another one"
    end(trials, "a")
    assert given(trials, "g", "h") == [(1, 0.5), None]
    end(trials, "g")
    source: Any = trials.source
    assert source.heard == [(0, "completed"), (1, "completed")], "the source receives one end"
    assert given(packed(tmp_path, gpus=0.25, measures=False), "a", "b")[1] == (1, 0.5), "the next start knows it, too"


def test_the_search_is_not_over_while_a_trial_may_come_again(tmp_path: Path) -> None:
    trials = packed(tmp_path, gpus=0.5, measures=False)
    source: Any = trials.source
    source.left = [0]
    assert given(trials, "a", "b") == [(0, 0.5), None]
    Attempt(1.0, tried=("gpus=0.5 microbatches=1 after step 10",)).write(trials.plan.paths.trial(0))
    end(trials, "a", OUT_OF_MEMORY)
    assert given(trials, "b") == [(0, 1.0)]
    end(trials, "b", "failed")
    assert given(trials, "c") == [Searcher.FINISHED]


def test_one_that_never_began_waits_for_room_like_any_other(tmp_path: Path) -> None:
    trials = packed(tmp_path, gpus=0.5, measures=False)
    assert given(trials, "a", "b", "c") == [(0, 0.5), (1, 0.5), None]
    trials.scheduler.on_trial_error(None, dead("a", status="PENDING"))
    trials.on_trial_complete("a", error=True)
    assert given(trials, "c", "d") == [(0, 0.5), None]
    source: Any = trials.source
    assert source.heard == []


def test_a_batch_that_was_cut_says_nothing_of_others(tmp_path: Path) -> None:
    trials = packed(tmp_path)
    Attempt(1.0, 2, None, ("gpus=1 microbatches=1 after step 10",)).write(trials.plan.paths.trial(0))
    given(trials, "a")
    trials.on_trial_result("a", {"status": "running", **told(15_000)})
    assert trials.seen is None


def test_ray_reserves_what_the_attempt_takes(tmp_path: Path) -> None:
    plan = TrialPlan("packed", SPEC, StudyPaths(tmp_path, "packed"), cpus=2, gpus=0.5)
    config = {PLAN: plan, "number": 0, "overrides": {}}
    assert process_resources(config).required_resources == {"CPU": 2, "GPU": 0.5}
    assert process_resources({**config, ATTEMPT: Attempt(1.0, 2)}).required_resources == {"CPU": 2, "GPU": 1.0}
    run = plan.run(0, {}, None, Attempt(1.0, 2, None, ("gpus=0.5 microbatches=1 after step 10",)))
    assert run.spec.train.microbatches == 2
    assert run.tags["t5vqvae.gpus"] == "1" and run.tags["t5vqvae.microbatches"] == "2"
    assert run.tags["t5vqvae.out_of_memory"] == "gpus=0.5 microbatches=1 after step 10"


# On Ray, with a trainer that runs out of memory


def starts(state: Path) -> list[tuple[int, float, int, bool]]:
    """Codebook size, share, micro-batches and whether it went on, of every start of the trainer."""
    lines = [line.split() for line in (state / "gpus.log").read_text().splitlines()]
    return [(int(size), float(share), int(number), went_on == "True") for size, share, number, went_on in lines]


@contextmanager
def gpus(monkeypatch: pytest.MonkeyPatch, number: int, **settings: Any) -> Iterator[None]:
    """A cluster that says it has so many GPUs; what asks for one finds none, and does not look."""
    import ray

    from tune.execution.ray_cluster import connect

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ray.init("local", num_cpus=8, num_gpus=number, include_dashboard=False, log_to_driver=False, **settings)
    with connect():
        yield
    ray.shutdown()


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with gpus(monkeypatch, 1):
        yield


@pytest.mark.ray
def test_a_search_packs_what_it_measured_and_gives_more_where_memory_ran_out(tmp_path: Path, one_gpu: None) -> None:
    """The baseline has the GPU alone, three share it, and two of those go on with half of it, and with half a batch."""
    from gpus import TRAINER
    from searches import assert_all_agree, mlflow_runs, stub_study

    from tune.search import search

    spec = stub_study(
        "gpus",
        4,
        base={"quantizer.codebook_size": 2_000, "train.batch_size": 4},
        space={"quantizer.codebook_size": {"type": "choice", "choices": [2_000, 6_000, 20_000, 400_000]}},
        sampler={"name": "random"},
        scheduler={"name": "none"},
        resources={"gpus": "auto"},
        seed=5,  # which draws these sizes, each once beside the baseline
    )
    search(spec, state=tmp_path, trainer=TRAINER)
    records = assert_all_agree(spec, tmp_path)
    assert [records[number].status for number in range(4)] == ["completed"] * 4
    tried: dict[int, list[tuple[float, int, bool]]] = {}
    for size, *start in starts(tmp_path):
        tried.setdefault(size, []).append(tuple(start))
    assert tried == {
        2_000: [(1.0, 1, False), (0.25, 1, False)],
        6_000: [(0.25, 1, False), (0.5, 1, True)],
        20_000: [(0.25, 1, False), (0.5, 1, True), (1.0, 1, True), (1.0, 2, True)],
    }
    paths = StudyPaths(tmp_path, "gpus")
    largest = next(r for r in records.values() if r.overrides["quantizer.codebook_size"] == 20_000)
    assert largest.tags["t5vqvae.out_of_memory"].startswith("gpus=0.25 microbatches=1 after step 10; gpus=0.5")
    tags = mlflow_runs(spec, paths)[f"gpus/{largest.number:05d}"].data.tags
    assert tags["t5vqvae.gpus"] == "1" and tags["t5vqvae.microbatches"] == "2"
    assert tags["t5vqvae.out_of_memory"] == largest.tags["t5vqvae.out_of_memory"]
    seen = MemorySeen.read(paths.root / FILE)
    assert seen is not None and seen.outside_mb == 500 and seen.reserved_mb[0] == 3_000


@pytest.mark.ray
@pytest.mark.slow
def test_an_ablation_packs_its_runs_too(tmp_path: Path, one_gpu: None) -> None:
    from ablations import ablation
    from gpus import TRAINER

    from tune.ablate import ablate

    large = {"name": "large", "question": "Is more better?", "overrides": {"quantizer.codebook_size": 5_000}}
    base = {"quantizer.codebook_size": 2_000, "train.device": "auto", "train.batch_size": 4}
    spec = ablation(
        "packed",
        base=base,
        arms=[large],
        seeds=8,
        nuisance=None,
        trials_per_arm=None,
        untuned="it packs",
        resources={"gpus": "auto"},
    )
    result = ablate(spec, state=tmp_path, trainer=TRAINER)
    assert {record.status for record in result.records} == {"completed"} and len(result.records) == 16
    shares = {size: [share for other, share, *_ in starts(tmp_path) if other == size] for size in (2_000, 5_000)}
    assert shares[2_000][0] == 1.0 and max([*shares[2_000][1:], *shares[5_000]]) <= 0.5


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_train_cuts_the_batch_where_memory_runs_out(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker reports that memory ran out, two are ended and sent back together; both go on where they were."""
    from gpus import TRAINER
    from searches import assert_all_agree, stub_study

    from tune.search import search

    spec = stub_study(
        "train",
        1,
        base={"quantizer.codebook_size": 20_000, "train.batch_size": 4},
        scheduler={"name": "none"},
        runner="ray_train",
        resources={"gpus": 1, "workers": workers},
    )
    everywhere = {"PYTHONPATH": f"{CODE_ROOT}:{SUPPORT}"}
    hook = {"worker_process_setup_hook": "gpus.without_nccl", "env_vars": everywhere}
    with gpus(monkeypatch, workers, runtime_env=hook):
        search(spec, state=tmp_path, trainer=TRAINER)
    (record,) = assert_all_agree(spec, tmp_path).values()
    assert record.status == "completed"
    first, second = starts(tmp_path)[:workers], starts(tmp_path)[workers:]
    assert first[0] == (20_000, 1.0, 1, False)
    assert {number for _, _, number, _ in first} == {1}  # workers of the stub do not wait for each other
    assert second == [(20_000, 1.0, 2, True)] * workers
    assert record.tags["t5vqvae.out_of_memory"] == "gpus=1 microbatches=1 after step 10"
