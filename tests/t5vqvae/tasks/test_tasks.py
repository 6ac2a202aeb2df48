"""Idle answers and scores worked by hand, and laws over every task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from baseline_runs import build, tiny
from rouge_score.rouge_scorer import RougeScorer

from t5vqvae.data import CorpusConfig, GrammarCorpus, MathCorpus, PublicCorpus, prepare
from t5vqvae.errors import SettingError
from t5vqvae.tasks import idle, report
from t5vqvae.tasks.all_tasks import TASKS, task_of
from t5vqvae.tasks.base import Asked, Pair, Task
from t5vqvae.tasks.derive import operation
from t5vqvae.tasks.report import Judgement, Row, judge
from t5vqvae.tasks.scores import distinct, exact, rouge
from t5vqvae.tasks.syllogistic import ends_with_quantifier, num_hops

PREMISES = "a cat is an animal </s> an animal needs some food"
CHAIN = "no zefs are lupis . all daks are zefs . not all rons are tibs ."


def test_parts_of_the_input() -> None:
    assert idle.first_premise(PREMISES) == "a cat is an animal"
    assert idle.second_premise(PREMISES) == "an animal needs some food"
    assert idle.longer_premise(PREMISES) == "a cat is an animal"  # both have five words
    assert idle.longer_premise("one </s> two words") == "two words"
    assert idle.union(PREMISES) == "a cat is an animal needs some food"
    assert idle.whole(PREMISES) == "a cat is an animal an animal needs some food"
    assert idle.lead("We try this. It works! Really?") == "We try this."
    assert idle.lead("no end") == "no end"


def test_ends_without_reasoning() -> None:
    assert ends_with_quantifier(min)(CHAIN) == "all zefs are tibs"
    assert ends_with_quantifier(max)(CHAIN) == "not all zefs are tibs"
    assert ends_with_quantifier(min)("some daks are zefs . </s> no zefs are lupis .") == "no daks are lupis"
    assert ends_with_quantifier(min)("no premises at all") == ""


def test_constants_come_from_training_targets() -> None:
    train = [Pair("q", "yes it is")] * 3 + [Pair("q", "no")] * 2
    asked = Asked(train, ["a", "b"], exact)
    assert idle.most_frequent(asked) == idle.constant(asked) == ["yes it is"] * 2
    assert set(idle.random_target(Asked(train, ["q"] * 50, exact))) == {"yes it is", "no"}
    # A list of frequent words is no target, and scores more than any of them.
    words = [Pair("q", f"the {letter} of") for letter in "abcdefgh"]
    assert set(idle.constant(Asked(words, ["q"], rouge("rouge1")))[0].split()) == {"the", "of"}


def test_scores_by_hand() -> None:
    assert exact("a  b", "a b") == 1 and exact("a b", "b a") == 0
    # Common subsequence "the cat sat": 3 of 4 words on one side and 3 of 3 on the other; F = 2 * .75 / 1.75.
    assert rouge("rougeL")("the black cat sat", "the cat sat") == pytest.approx(6 / 7)
    assert rouge("rougeL")("a b", "b a") == pytest.approx(0.5) and rouge("rouge1")("a b", "b a") == 1
    for text in ("кошка сидит на ковре", "猫坐在垫子上", "बिल्ली चटाई पर", "été à Paris"):
        assert rouge("rougeL")(text, text) == 1 and rouge("rougeL")(text, "") == 0
    assert rouge("rouge1")("猫坐在垫子上", "猫在上") == pytest.approx(2 / 3), "a character is a word there"
    assert rouge("rouge1")("été à Paris", "ete a Paris") == pytest.approx(1 / 3)
    published = RougeScorer(["rougeL"])
    for one, other in (("It's a U.S. deal, 3.5%!", "its the us deal: 3_5"), ("a-b_c", "a b c")):
        assert rouge("rougeL")(one, other) == published.score(one, other)["rougeL"].fmeasure, "of ASCII as published"
    assert distinct(1)([], ["a b a", "a"]) == 2 / 4
    assert distinct(2)([], ["a b a", "a b"]) == 2 / 3
    assert distinct(2)([], ["a"]) == 0


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_is_judged(task: Task) -> None:
    train = [Pair(f"{PREMISES} {n}", f"a right answer {n}") for n in range(5)]
    asked = [Pair(f"{CHAIN} </s> {n}", f"an answer {n} here") for n in range(20)]
    right = judge(task, "test", train, asked, [pair.target for pair in asked])
    assert right.rows[0].score == pytest.approx(1) and right.is_learnt
    assert [row.name for row in right.rows] == ["model", *task.idle]
    assert all(row.low <= row.score <= row.high for row in right.rows)
    assert set(right.rows[0].others) == {*task.scores, *task.of_all} - {task.main_score}
    assert not judge(task, "test", train, asked, ["x"] * 20).is_learnt


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_who_only_answers_as_the_best_idle_one_has_learnt_nothing(task: Task) -> None:
    asked = [Pair(f"all a{n} are b{n} . </s> no b{n} are c{n} .", f"all a{n} are b{n} .") for n in range(30)]
    train = asked[:3]
    idle_rows = judge(task, "test", train, asked, ["x"] * 30).rows[1:]
    best = max(idle_rows, key=lambda row: row.score).name
    known = Asked(train, [pair.source for pair in asked], task.scores[task.main_score])
    copied = judge(task, "test", train, asked, task.idle[best](known))
    assert copied.rows[0].score == max(row.score for row in copied.rows) and not copied.is_learnt


def test_the_lower_end_decides_and_not_the_mean() -> None:
    idle_row = Row("idle", 0.5, 0.4, 0.6, {})
    above, touching = Row("model", 0.6, 0.51, 0.7, {}), Row("model", 0.6, 0.5, 0.7, {})
    assert Judgement("test", 9, [above, idle_row]).is_learnt
    assert not Judgement("test", 9, [touching, idle_row]).is_learnt


def test_answers_of_mathematics_are_judged_by_their_meaning_too() -> None:
    asked = [Pair(r"\frac{d}{d x} x^{2}", "2 x"), Pair(r"\int x\, dx", r"\frac{x^{2}}{2}")]
    texts = ["2 x", r"\frac{x^{2}}{2} + 3"]  # another constant is as right
    corpus = MathCorpus(task="derive")
    model, copied, *_ = judge(TASKS["derive"], "test", asked, asked, texts, corpus.judge).rows
    assert model.score == 0.5 and model.others["meaning_match"] == 1 and model.others["meaning_undecided"] == 0
    assert copied.name == "copy of the question" and copied.others["meaning_match"] == 0
    assert "meaning_match" not in judge(TASKS["derive"], "test", asked, asked, texts).rows[0].others


def test_idle_answers_read_no_augmented_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = {f"data.corpus.{name}": value for name, value in {"name": "math", "task": "derive", "size": 60}.items()}
    sizes = {"data.corpus.validation_size": 5, "data.corpus.test_size": 5, "data.max_length": 200}
    spec = tiny("t5vqvae", **corpus, **sizes, **{"data.augment.rename": 1.0})
    seen: list[int] = []
    original = report.judge

    def watched(task: Task, split: str, train: Sequence[Pair], *others: Any) -> Judgement:
        seen.append(len(train))
        return original(task, split, train, *others)

    monkeypatch.setattr(report, "judge", watched)
    report.judge_model(TASKS["derive"], build(spec, tmp_path).eval(), spec, tmp_path, "validation")
    prepared = prepare(spec.data, tmp_path)
    assert seen == [len(prepared.train) - prepared.num_augmented["rename"]] and seen[0] < len(prepared.train)


def test_scores_by_kind_of_question() -> None:
    assert num_hops(CHAIN) == "1 hop", "no premise shares a noun with that of rons and tibs"
    assert num_hops("all a are b . </s> no b are c . some c are d .") == "2 hops"
    assert operation(r"\frac{\partial}{\partial S} S x") == operation(r"\frac{d}{d \zeta} \zeta") == "derivative"
    assert operation(r"\int x\, dx") == "integral"
    assert operation(r"\int x\, dx = \frac{d}{d o} o^{2}") == "two questions"
    asked = [Pair(r"\int x\, dx", "1"), Pair(r"\frac{d}{d x} x^{2}", "2 x"), Pair(r"\frac{d}{d x} x", "1")]
    kinds = judge(TASKS["derive"], "test", asked, asked, ["2", "2 x", "3"]).kinds
    assert kinds == {"derivative": (0.5, 2), "integral": (0.0, 1)}
    assert not judge(TASKS["dialogue"], "test", asked, asked, ["2", "2 x", "3"]).kinds


def test_a_corpus_asks_its_task() -> None:
    asking: list[tuple[CorpusConfig, str]] = [
        (PublicCorpus(dataset="entailment"), "inference"),
        (PublicCorpus(dataset="summarization"), "summarization"),
        (PublicCorpus(dataset="dialogue"), "dialogue"),
        (MathCorpus(task="derive"), "derive"),
        (CorpusConfig.variants["syllogisms"](), "syllogisms"),  # type: ignore[list-item]
    ]
    assert [task_of(corpus).name for corpus, _ in asking] == [name for _, name in asking]
    assert task_of(GrammarCorpus(), "dialogue").name == "dialogue"
    with pytest.raises(SettingError, match=r"data.corpus.name=math asks no task; name one by --task: inference"):
        task_of(MathCorpus())
    with pytest.raises(SettingError, match=r"--task dialog is no task; did you mean dialogue\?"):
        task_of(MathCorpus(), "dialog")
