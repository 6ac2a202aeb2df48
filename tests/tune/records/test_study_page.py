"""The description of a study in MLflow: its numbers are those of the records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kept_studies import NLL, record
from searches import stub_study

from t5vqvae.evaluation.metrics import label
from tune.records.ranking import contenders
from tune.records.study_page import SHOWN, StudyPage
from tune.spec.search_spec import SearchSpec

SPEC = stub_study("kept", 8, question="Which rate learns?")


def page_of(spec: SearchSpec = SPEC, planned: int | None = 8) -> StudyPage:
    rank = lambda found: contenders(found, spec)  # noqa: E731
    return StudyPage(spec, planned, rank, lambda r: spec.run_spec(r.overrides).as_flat_dict(), lambda run: f"#/{run}")


def test_before_the_first_trial_it_says_the_question_and_how_to_reproduce() -> None:
    text = page_of().text(running=2)
    assert text.startswith("**Which rate learns?**\n\n0 of 8 trials have ended, 2 running.")
    assert "t5vqvae search ./study.yaml" in text and "promote" not in text and "|" not in text


def test_it_says_state_best_trial_with_its_link_table_and_promotion() -> None:
    page = page_of()
    for number in NLL:
        page.add(record("kept", number, mlflow_id=f"run{number}"))
    text = page.text()
    assert "4 of 8 trials have ended (3 completed, 1 pruned)." in text
    assert f"Best trial: [1 ema lr=0.01 decay=0.9](#/run1), {label('validation/nll')} 0.3 at 8 bits a token" in text
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert [(row.split("](#/run")[1][0], row.split(" | ")[1:]) for row in rows] == [
        ("1", ["&emsp;0.3", "&emsp;8 |"]),
        ("0", ["&emsp;0.5", "&emsp;8 |"]),
    ], "neither the pruned trial nor the one over its bound"
    assert text.endswith("`t5vqvae promote kept`.")


def test_the_table_keeps_the_best_five_in_whatever_order_they_end() -> None:
    page = page_of()
    values = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4]
    for number, value in enumerate(values):
        metrics = {"validation/nll": value, "rate/bits_per_token": 8.0}
        page.add(replace(record("kept", 0), number=number, metrics=metrics))
    assert [r.metrics["validation/nll"] for r in page.best] == sorted(values)[:SHOWN]


def test_of_an_ablation_no_trial_is_best() -> None:
    page = StudyPage(SPEC, None, None, lambda r: {}, str)
    page.add(record("kept", 0))
    text = page.text(more=["The arm wins."])
    assert "1 trials have ended (1 completed)." in text and "The arm wins." in text and "Best" not in text


@pytest.mark.parametrize("secret", ["http://user:hunter2@host/x"])
def test_a_password_in_the_question_is_not_shown(secret: str) -> None:
    assert "hunter2" not in page_of(stub_study("kept", 8, question=f"see {secret}?")).text()
