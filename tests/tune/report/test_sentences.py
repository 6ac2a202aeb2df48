"""What a report says of the assumptions behind its tests, and of how intervals and p-values relate."""

from __future__ import annotations

from dataclasses import replace

from tune.analysis import FactorialEffect, Question, RunRow, SequentialPlan, compare_arms
from tune.report import tables
from tune.report.ablation_report import AblationReport
from tune.report.sentences import answer, caveats, intervals_and_p_values

METRIC = "validation/nll_per_char"
QUESTION = Question(METRIC, "minimize", margin=0.2, secondary=())
EVEN = (0.10, 0.13, 0.08, 0.11, 0.12, 0.09, 0.14)


def comparison(question: Question = QUESTION, last: float = 3.0, arms: tuple[str, ...] = ("a", "b")):
    rows = [RunRow("baseline", seed, "completed", {METRIC: 0.0}) for seed in range(8)]
    for name in arms:
        values = (*EVEN, last if name == "a" else 0.1)
        rows += [RunRow(name, seed, "completed", {METRIC: value}) for seed, value in enumerate(values)]
    return compare_arms(rows, "baseline", arms, range(8), question)


def report(question: Question = QUESTION, **changes) -> AblationReport:
    return AblationReport("name", "Why?", comparison(question), **changes)


def test_a_seed_that_carries_the_spread_is_named_with_two_other_answers():
    (line,) = [line for line in caveats(comparison()) if "in doubt" in line]
    assert line.startswith("a: seed 7 carries ") and "the test, which alone decides: bootstrap-t interval [" in line
    assert "sign test p = .008 (of the median, not of the mean)" in line
    assert comparison().arm("a").verdict == "worse", "the declared test alone decides"
    for text in (report().html(), report().markdown()):
        assert "seed 7 carries" in text
    assert not [line for line in caveats(comparison(last=0.12)) if "in doubt" in line]
    assert not [line for line in caveats(comparison(replace(QUESTION, test="t"))) if "in doubt" in line]


def test_a_factor_whose_symmetry_is_in_doubt_is_named_too():
    effect = comparison().arm("a").effect
    found = FactorialEffect(("model.dropout",), (1,), effect, 0.01, verdict="worse")
    shown = report(effects=[found, found], levels={"model.dropout": [0.0, 0.1]})
    for text in (shown.html(), shown.markdown()):
        assert "dropout=0.1: seed 7 carries" in text
        assert "An interval is of one of the effects alone" in text


def test_every_table_says_how_intervals_and_p_values_relate():
    sentence = intervals_and_p_values(QUESTION, 2)
    assert sentence == (
        "An interval is of one of the arms alone, at 95%; p-values are adjusted over all 2 (Holm) and decide:"
        " an interval may leave zero out alone."
    )
    found = report()
    for text in (found.html(), found.markdown()):
        assert text.count(sentence) == 1
    assert r"\par\footnotesize " + sentence.replace("%", r"\%") in tables.latex(found.comparison, "Why?", "name")
    assert "the one test" in intervals_and_p_values(QUESTION, 1)


def test_equivalence_says_what_it_assumes():
    assert "two one-sided sign-flip tests, which assume differences symmetric about their mean" in report().markdown()
    by_t = report(replace(QUESTION, test="t")).markdown()
    assert "two one-sided t tests, which assume normal differences (on skewed ones .13 to .15" in by_t
    assert comparison().arm("b").p_equivalence == 2 / 2**8, "sign flips, and Holm over two arms"


def test_pairs_that_never_differ_are_said_to_tell_nothing():
    rows = [RunRow(name, seed, "completed", {METRIC: 0.0}) for name in ("baseline", "a") for seed in range(8)]
    rows += [RunRow("b", seed, "completed", {METRIC: 0.001 * (seed == 3)}) for seed in range(8)]
    found = compare_arms(rows, "baseline", ("a", "b"), range(8), QUESTION)
    assert found.arm("a").verdict == found.arm("b").verdict == "equivalent"
    (line,) = [line for line in caveats(found) if "no pair differs at all" in line]
    assert line.startswith("a: ") and "is at its floor or ceiling here, or too coarse to tell" in line
    assert "equivalence p = .0" in answer(found)
    alone = compare_arms(rows, "baseline", ("a",), range(8), QUESTION)
    assert answer(alone).startswith("No pair of any arm differs at all, so either"), "one arm, too"
    both = [*rows, *(RunRow("c", seed, "completed", {METRIC: 1e-16 * seed}) for seed in range(8))]
    nothing = answer(compare_arms(both, "baseline", ("a", "c"), range(8), replace(QUESTION, test="t")))
    assert nothing.startswith("No pair of any arm differs at all, so either"), "rounding is no difference"


def test_a_sequential_plan_says_about_and_what_it_costs():
    text = report(replace(QUESTION, plan=SequentialPlan((4, 8), alpha=0.025))).markdown()
    assert "keeps it about (simulated: " in text and "as if nobody had looked early" in text
