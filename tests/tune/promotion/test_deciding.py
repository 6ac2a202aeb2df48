"""The gate by hand: better by an interval, or near enough and better at a second measure, with every guard inside."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from t5vqvae.errors import SettingError
from t5vqvae.evaluation.gate_scores import GateScores
from t5vqvae.spec.training import EvaluateConfig
from tune.promotion.deciding import Claim, Decision, Ratio, claim, decide, refuse_unmeasurable
from tune.spec.objective import Objective
from tune.spec.promotion_rules import PromotionRules

EXACT, NLL = (Objective.parse({"metric": f"validation/{name}"}) for name in ("exact_match", "nll"))
NAMES = {"gate": [f"s{n}" for n in range(100)]}


def scores(**values: list[float] | float) -> GateScores:
    """Scores of a hundred sentences; a number stands for the same value on each. `rate` is the joint rate."""
    keys = {"exact": "exact_match", "nll": "nll", "rate": "rate/joint_bits_per_token", "usage": "codebook/usage"}
    units = {
        f"gate/{keys[name]}": ([value] * 100 if isinstance(value, float) else value, [1.0] * 100)
        for name, value in values.items()
    }
    return GateScores(units, NAMES)


def rules(**values: Any) -> PromotionRules:
    return PromotionRules.parse(values)


FEW, MANY = [1.0] * 50 + [0.0] * 50, [1.0] * 80 + [0.0] * 20


def test_an_advantage_counts_in_the_direction_of_the_metric_and_its_interval_holds_the_hand_made_value() -> None:
    up = claim("validation/exact_match", "maximize", scores(exact=MANY), scores(exact=FEW))
    assert isinstance(up, Claim) and (up.mine, up.theirs, up.number) == (0.8, 0.5, 100)
    # Thirty sentences differ, all for the first: a mean of .3 with a deviation of sqrt(.3 * .7 / 100) = .046.
    assert up.advantage == pytest.approx(0.3) and (up.low, up.high) == pytest.approx((0.21, 0.39), abs=0.02)
    down = claim("validation/nll", "minimize", scores(nll=MANY), scores(nll=FEW))
    assert isinstance(down, Claim) and down.advantage == pytest.approx(-0.3) and down.high < 0


def test_a_model_passes_when_the_interval_lies_above_zero_and_not_by_a_better_number() -> None:
    assert decide(EXACT, rules(), scores(exact=MANY), scores(exact=FEW)).passed
    one_more = [1.0] * 51 + [0.0] * 49
    decision = decide(EXACT, rules(), scores(exact=one_more), scores(exact=FEW))
    assert not decision.passed and decision.claims[0].advantage == pytest.approx(0.01)
    assert "not shown to differ" in decision.reasons[0]


def test_at_exact_match_one_on_both_sides_the_second_measure_opens_the_gate() -> None:
    mine, theirs = scores(exact=1.0, rate=3.0), scores(exact=1.0, rate=4.0)
    assert not decide(EXACT, rules(), mine, theirs).passed
    second = rules(margin=0.01, second="rate/joint_bits_per_token")
    assert decide(EXACT, second, mine, theirs).passed
    assert not decide(EXACT, second, theirs, mine).passed, "a higher rate is no gain"
    worse = decide(EXACT, second, scores(exact=FEW, rate=3.0), scores(exact=MANY, rate=4.0))
    assert not worse.passed and "not shown to be worse by no more than the margin 0.01" in worse.reasons[0]


def test_a_guard_holds_only_if_the_bad_end_lies_inside_and_one_that_was_not_measured_is_shut() -> None:
    noisy = [4.0 + (1.0 if n % 2 else -1.0) for n in range(100)]
    mine, theirs = scores(exact=MANY, rate=noisy), scores(exact=FEW, rate=4.0)
    at = {
        margin: decide(EXACT, rules(guards={"rate/joint_bits_per_token": margin}), mine, theirs)
        for margin in (0.1, 0.3)
    }
    assert not at[0.1].passed and at[0.1].claims[1].advantage == pytest.approx(0.0), "the mean alone would hold"
    assert at[0.1].reasons[1].startswith("guard SHUT (margin 0.1)") and at[0.3].passed
    shut = decide(EXACT, rules(guards={"codebook/usage": 1.0}), scores(exact=MANY), scores(exact=FEW))
    assert not shut.passed and shut.reasons[-1] == "guard shut: gate/codebook/usage was not measured of both models"


def test_latency_and_size_are_bounded_by_the_bad_end_of_their_ratio() -> None:
    sides, bound = (scores(exact=MANY), scores(exact=FEW)), rules(max_latency=1.2, max_size=1.0)
    costs = [Ratio("latency", 1.1, 1.0, 1.25), Ratio("size", 1.0, 1.0, 1.0)]
    assert [decide(EXACT, bound, *sides, costs).passed, decide(EXACT, bound, *sides).passed] == [False, False]
    assert decide(EXACT, rules(max_latency=1.3, max_size=1.0), *sides, costs).passed


def test_scores_of_other_sentences_are_not_compared() -> None:
    other = GateScores(scores(exact=FEW).units, {"gate": [f"t{n}" for n in range(100)]})
    decision = decide(EXACT, rules(), scores(exact=MANY), other)
    assert not decision.passed and "were measured on other sentences" in decision.reasons[0]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"margin": 0.1}, "margin and second belong together"),
        ({"second": "rate/joint_bits_per_token"}, "margin and second belong together"),
        ({"margin": 0.1, "second": "rate/joint_bits_per_tokn"}, "did you mean rate/joint_bits_per_token"),
        ({"guards": {"cost/parameters": 3}}, "guards=cost/parameters has no interval"),
        ({"guards": {"codebook/usage": -1}}, "must be 0 or more"),
        ({"guards": {"rate/prior_bits_per_char": 1}}, "guards=rate/prior_bits_per_char has no interval"),
        ({"guards": {"VAR/bleu": 1}}, "guards=VAR/bleu has no interval"),
    ],
)
def test_rules_that_cannot_work_are_refused_with_the_way_out(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError, match=line):
        rules(**values)


def evaluated(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.parse(values)


def test_rules_on_what_no_test_of_this_model_measures_are_refused_before_it() -> None:
    with pytest.raises(SettingError, match=r"control/local_intervention needs edits .* evaluate\.control"):
        refuse_unmeasurable(rules(guards={"control/local_intervention": 0.1}), evaluated(), ["VAR"])
    with pytest.raises(SettingError, match=r"sparse_local_intervention needs edits of sparse .* evaluate\.unsent"):
        refuse_unmeasurable(rules(second="control/sparse_local_intervention", margin=0), evaluated(control=12), [])
    with pytest.raises(SettingError, match="no shifted set LEN decides about this corpus; it has VAR"):
        refuse_unmeasurable(rules(guards={"LEN/exact_match": 0.1}), evaluated(), ["VAR"])
    guards = {"VAR/exact_match": 0.1, "control/local_intervention": 0, "control/sparse_local_intervention": 0}
    refuse_unmeasurable(rules(guards=guards), evaluated(control=12, unsent=0.5), ["VAR"])


def named(names: list[str], values: list[float]) -> GateScores:
    return GateScores({"gate/exact_match": (values, [1.0] * len(values))}, {"gate": names})


def test_two_that_share_most_sentences_are_compared_on_those_alone_whatever_their_order() -> None:
    mine = named(["a", "b", "c", "d"], [1.0, 0.0, 1.0, 1.0])
    theirs = named(["d", "c", "a", "e"], [0.0, 0.0, 1.0, 1.0])
    found = claim("validation/exact_match", "maximize", mine, theirs)
    assert isinstance(found, Claim) and (found.mine, found.theirs, found.number) == (1.0, pytest.approx(1 / 3), 3)
    few = claim("validation/exact_match", "maximize", mine, named(["a", "x", "y", "z"], [0.0] * 4))
    assert few == "gate/exact_match: the two were measured on other sentences"


def test_values_a_token_are_not_compared_across_tokenizers() -> None:
    sides = scores(nll=MANY, exact=MANY), scores(nll=FEW, exact=FEW)
    refused = claim("validation/nll", "minimize", *sides, same_tokens=False)
    assert (
        refused
        == "gate/nll is a value a token, and the two may cut texts into different tokens; take validation/nll_per_char"
    )
    guarded = decide(EXACT, rules(guards={"validation/nll": 9}), *sides, same_tokens=False)
    assert not guarded.passed and guarded.claims[0].low > 0, "the objective is better, and the guard is shut"


def test_rates_across_tokenizers_are_guarded_by_bits_a_character_and_a_sentence() -> None:
    mine, theirs = (
        GateScores(
            scores(exact=exact, rate=2.0).units
            | {"gate/rate/joint_bits_per_char": ([chars] * 100, [1.0] * 100)}
            | {"gate/rate/bits_per_sentence": ([sentence] * 100, [1.0] * 100)},
            NAMES,
        )
        for exact, chars, sentence in ((MANY, 0.55, 9.0), (FEW, 0.5, 10.0))
    )

    def guarded(metric: str, margin: float) -> Decision:
        return decide(EXACT, rules(guards={metric: margin}), mine, theirs, same_tokens=False)

    assert guarded("rate/joint_bits_per_char", 0.1).passed and not guarded("rate/joint_bits_per_char", 0.01).passed
    assert guarded("rate/bits_per_sentence", 0).passed
    shut = guarded("rate/joint_bits_per_token", 0.1)
    assert not shut.passed and shut.reasons[-1] == (
        "guard shut: gate/rate/joint_bits_per_token is a value a token, and the two may cut texts into different"
        " tokens; take rate/joint_bits_per_char"
    )
    shifted = claim("VAR/rate/bits_per_token", "minimize", mine, theirs, same_tokens=False)
    assert isinstance(shifted, str) and shifted.endswith("; take VAR/rate/bits_per_sentence")


def test_a_margin_a_token_does_not_count_for_the_objective_that_replaces_it_between_two_tokenizers() -> None:
    near, second = rules(margin=0.05, second="rate/joint_bits_per_char"), "gate/rate/joint_bits_per_char"
    mine, theirs = (
        GateScores({f"gate/{key}": ([nll] * 100, [1.0] * 100) for key in ("nll", "nll_per_char")}, NAMES)
        for nll in (0.51, 0.5)
    )
    for side, bits in ((mine, 1.0), (theirs, 2.0)):
        side.units[second] = [bits] * 100, [1.0] * 100  # type: ignore[index]
    assert decide(NLL, near, mine, theirs).passed
    across = decide(NLL, near, mine, theirs, same_tokens=False)
    assert not across.passed and across.reasons[0].startswith("gate/nll_per_char 0.51 against 0.5: worse")
    assert across.reasons[0].endswith("the margin 0.05 is one a token, and the two may cut texts into different tokens")


def test_bleu_has_its_interval_over_sentences() -> None:
    texts = [f"the cat {n} sat on the mat" for n in range(20)]
    worse = [text.replace("sat", "lay") for text in texts]
    mine, theirs = (GateScores({}, {"gate": texts}, {}, decoded, texts) for decoded in (texts, worse))
    found = claim("validation/bleu", "maximize", mine, theirs)
    assert isinstance(found, Claim) and found.mine == pytest.approx(100) and found.low > 0


def test_equal_models_open_no_gate_of_a_few_sentences_more_often_than_of_many() -> None:
    """A plain bootstrap interval of one sentence is a point, and opened the gate in half of all cases."""
    rng = np.random.default_rng(0)
    cases = itertools.product((2, 3, 6, 20), (lambda n: rng.normal(2.0, 0.3, n), lambda n: rng.integers(0, 2, n)))
    for number, draw in cases:
        opened = 0
        for _ in range(200):
            names = [str(place) for place in range(number)]
            sides = (named(names, draw(number).astype(float).tolist()) for _ in range(2))
            found = claim("validation/exact_match", "maximize", *sides)
            assert isinstance(found, Claim)
            opened += found.low > 0
        assert opened <= 10, "2.5% are due, of 200"
    alone = claim("validation/exact_match", "maximize", named(["a"], [1.0]), named(["a"], [0.0]))
    assert alone == "gate/exact_match: one sentence or edit has no interval; take a larger test split"
