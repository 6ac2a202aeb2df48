"""Which candidate fresh seeds choose, out of which, and what is said of it: by hand, and whatever the search found."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from promotions import STUDY

from t5vqvae.errors import SettingError, UserError
from tune.promotion.candidates import Candidate, candidates_of, choose, fresh_seeds, kind_of
from tune.records.fresh_runs import TAG
from tune.records.record import TrialRecord
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec

SPEC = SearchSpec.parse(STUDY)
TWO = SearchSpec.parse(
    {**STUDY, "objectives": [{"metric": "validation/nll"}, {"metric": "rate/bits_per_token", "direction": "minimize"}]}
)


def record(number: int, nll: float, bits: float = 3.0, **changes: Any) -> TrialRecord:
    metrics = {"validation/nll": nll, "rate/bits_per_token": bits}
    return replace(TrialRecord("tiny", number, {}, f"run{number}", None, "completed", 2, metrics), **changes)


def fresh(number: int, seed: int, nll: float, bits: float = 3.0, **changes: Any) -> TrialRecord:
    settings = {"overrides": {"seed": seed}, "run_id": f"run{number}-{seed}", "tags": {TAG: str(seed)}}
    return record(number, nll, bits, **{**settings, **changes})


def candidate(number: int, searched: float, *values: float, spec: SearchSpec = SPEC) -> Candidate:
    runs = [fresh(number, seed, value) for seed, value in enumerate(values, start=1)]
    return Candidate(record(number, searched), tuple(runs), spec)


def rules(**values: Any) -> PromotionRules:
    return PromotionRules.parse(values)


def test_the_searchs_best_was_lucky_and_fresh_seeds_choose_another() -> None:
    lucky, steady = candidate(4, 0.5, 0.9, 1.0, 1.1), candidate(7, 0.6, 0.62, 0.7, 0.66)
    choice = choose([lucky, steady], SPEC, "the best of 9 completed trials that count")
    assert choice.winner is steady
    assert choice.record.tags[TAG] == "3", "the mean is .66: not the best run, .62"
    assert choice.lines == (
        "chosen on validation out of 2 candidates (the best of 9 completed trials that count), 3 fresh seeds each:"
        " trial 7; validation/nll was 0.6 in the search, fresh seeds give 0.66 [0.62, 0.7];"
        " registered is the run with seed 3, the nearest to their mean",
        "not chosen: trial 4: validation/nll was 0.5 in the search, fresh seeds give 1 [0.9, 1.1]",
    )
    assert choice.tags == {
        "fresh.candidates": 2,
        "fresh.seeds": 3,
        "fresh.metric": "validation/nll",
        "fresh.searched": "0.6",
        "fresh.mean": "0.66",
        "fresh.low": "0.62",
        "fresh.high": "0.7",
    }


def test_the_choice_depends_on_fresh_values_alone_whatever_the_search_and_the_test_found() -> None:
    draw = random.Random(1)
    for _ in range(50):
        means = [[draw.random() for _ in range(3)] for _ in range(4)]
        found = [candidate(number, draw.random(), *values) for number, values in enumerate(means)]
        best = min(range(4), key=lambda number: sum(means[number]))
        others = {"test/nll": draw.random(), "gate/nll": draw.random(), "validation/nll": draw.random()}
        luck = [replace(each, record=replace(each.record, metrics=others)) for each in found]
        assert [choose(each, SPEC, "").winner.record.number for each in (found, luck)] == [best, best]
        assert (
            choose(found, SPEC, "").record.metrics["validation/nll"]
            == sorted(means[best], key=lambda value: abs(value - sum(means[best]) / 3))[0]
        )


def test_more_of_an_objective_to_maximize_is_better() -> None:
    spec = SearchSpec.parse({**STUDY, "objectives": [{"metric": "validation/exact_match"}]})

    def of(number: int, *values: float) -> Candidate:
        runs = [fresh(number, seed, 1.0) for seed in range(len(values))]
        matched = (
            replace(run, metrics={**run.metrics, "validation/exact_match": v})
            for run, v in zip(runs, values, strict=True)
        )
        first = replace(record(number, 1.0), metrics={"validation/exact_match": 0.9, "rate/bits_per_token": 3.0})
        return Candidate(first, tuple(matched), spec)

    assert choose([of(0, 0.5, 0.6), of(1, 0.4, 0.9)], spec, "").winner.record.number == 1


def test_a_tie_goes_to_the_better_of_the_search_and_to_the_first_seed() -> None:
    choice = choose([candidate(3, 0.1, 1.0, 3.0), candidate(2, 0.2, 2.0, 2.0)], SPEC, "")
    assert (choice.winner.record.number, choice.record.tags[TAG]) == (3, "1")


@pytest.mark.parametrize(
    ("unfit", "fault"),
    [
        ({"bits": 4.5}, "rate/bits_per_token <= 4 is broken with seed 2: it is 4.5"),
        ({"status": "diverged"}, "it diverged with seed 2"),
        ({"metrics": {"validation/nll": 0.1}}, "rate/bits_per_token <= 4 is broken with seed 2: it is not measured"),
        ({"metrics": {"rate/bits_per_token": 3.0}}, "it has no codes or no validation/nll with seed 2"),
    ],
)
def test_a_candidate_that_is_unfit_with_one_fresh_seed_is_out(unfit: dict[str, Any], fault: str) -> None:
    broken = Candidate(record(0, 0.1), (fresh(0, 1, 0.1), fresh(0, 2, 0.1, **unfit)), SPEC)
    choice = choose([broken, candidate(1, 0.2, 0.9, 0.9)], SPEC, "")
    assert choice.winner.record.number == 1 and choice.lines[1].endswith(f"0.1 in the search; out, {fault}")
    with pytest.raises(UserError) as refused:
        choose([broken], SPEC, "")
    assert str(refused.value) == (
        f"study tiny: none of its 1 candidates counts with fresh seeds (trial 0: {fault});"
        " take more candidates, search on, or loosen the constraints"
    )


def test_candidates_are_the_best_that_count_and_all_of_them_where_there_are_fewer() -> None:
    trials = [record(0, 0.3), record(1, 0.1, bits=9.0), record(2, 0.2), record(3, 0.0, status="pruned"), record(4, 0.4)]
    found = {k: candidates_of(trials, SPEC, rules(candidates=k, fresh_seeds=1)) for k in (1, 2, 3, 9)}
    assert {k: [each.number for each in best] for k, best in found.items()} == {
        1: [2],
        2: [2, 0],
        3: [2, 0, 4],
        9: [2, 0, 4],
    }
    assert kind_of(found[2], trials, SPEC) == "the best of 3 completed trials that count"
    assert kind_of(found[9], trials, SPEC) == "all completed trials that count"


def test_of_several_objectives_the_front_is_trained_again() -> None:
    trials = [record(0, 0.3, 1.0), record(1, 0.1, 3.0), record(2, 0.2, 2.0), record(3, 0.25, 2.5), record(4, 0.05, 9.0)]
    front = candidates_of(trials, TWO, rules(candidates="front", fresh_seeds=1))
    first = candidates_of(trials, TWO, rules(candidates=2, fresh_seeds=1))
    assert [each.number for each in front] == [1, 2, 0], "trial 3 is dominated, trial 4 breaks the bound"
    assert [each.number for each in first] == [1, 2]
    assert kind_of(front, trials, TWO) == "the Pareto front of 4 completed trials that count"
    assert kind_of(first, trials, TWO) == "the first of the Pareto front of 4 completed trials that count"


def test_of_several_objectives_the_first_decides_and_the_next_breaks_ties() -> None:
    one = Candidate(record(0, 0.1), (fresh(0, 1, 0.5, 3.0), fresh(0, 2, 0.7, 3.0)), TWO)
    two = Candidate(record(1, 0.2), (fresh(1, 1, 0.6, 2.0), fresh(1, 2, 0.6, 2.0)), TWO)
    assert choose([one, two], TWO, "").winner.record.number == 1
    three = Candidate(record(2, 0.3), (fresh(2, 1, 0.5, 3.9), fresh(2, 2, 0.5, 3.9)), TWO)
    assert choose([one, two, three], TWO, "").winner.record.number == 2


def test_fresh_seeds_are_none_of_the_studys_and_the_first_stay_when_more_are_wanted() -> None:
    assert fresh_seeds(SPEC, 3) == [1, 2, 3] and fresh_seeds(SPEC, 5)[:3] == [1, 2, 3]
    assert fresh_seeds(SearchSpec.parse({**STUDY, "base": {**STUDY["base"], "seed": 40}}), 2) == [41, 42]
    with pytest.raises(SettingError, match=r"space\.seed: a seed is no hyperparameter"):
        SearchSpec.parse({**STUDY, "space": {**STUDY["space"], "seed": {"type": "int", "low": 0, "high": 9}}})


def test_one_fresh_seed_has_no_range() -> None:
    (head,) = choose([candidate(0, 0.5, 0.75)], SPEC, "all completed trials that count").lines
    assert head == (
        "chosen on validation out of 1 candidate (all completed trials that count), 1 fresh seed each: trial 0;"
        " validation/nll was 0.5 in the search, one fresh seed gives 0.75; registered is the run with seed 1"
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"candidates": 0, "fresh_seeds": 1}, "candidates=0 must be a whole number of at least 1, or front"),
        ({"candidates": 2.5, "fresh_seeds": 1}, "candidates=2.5 must be a whole number of at least 1, or front"),
        (
            {"candidates": "fornt", "fresh_seeds": 1},
            "candidates='fornt' must be a whole number of at least 1, or front",
        ),
        ({"candidates": 3, "fresh_seeds": 0}, "fresh_seeds=0 must be at least 1"),
        ({"candidates": 3}, "candidates and fresh_seeds belong together"),
        ({"fresh_seeds": 3}, "candidates and fresh_seeds belong together"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError) as refused:
        SearchSpec.parse({**STUDY, "promotion": values})
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_the_front_of_one_objective_is_refused() -> None:
    front = {"candidates": "front", "fresh_seeds": 2}
    with pytest.raises(SettingError, match=r"promotion\.candidates=front needs several objectives; give a number"):
        SearchSpec.parse({**STUDY, "promotion": front})
    assert SearchSpec.parse({**TWO.as_dict(), "promotion": front}).promotion.candidates == "front"


def test_a_study_of_before_has_neither_and_may_be_resumed_with_both() -> None:
    old = SPEC.as_dict()
    for name in ("candidates", "fresh_seeds"):
        del old["promotion"][name]
    assert SearchSpec.parse(old).promotion.fresh_seeds is None
    SearchSpec.parse({**STUDY, "promotion": {"candidates": 3, "fresh_seeds": 2}}).refuse_changes(SearchSpec.parse(old))
