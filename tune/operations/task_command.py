"""The command `task`: how well a trained model does its task, next to what doing nothing scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tune.command_line import Command, Group, State
from tune.operations.options import Form, Model, Output
from tune.operations.printed_rows import Rows
from tune.process import NOTHING_WORKED
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    from t5vqvae.tasks.report import Judgement

app = typer.Typer(cls=Group)
_HALVES = {
    True: "the half of each test set by which promotions decide is left out, because the model is a registered one",
    False: "all of each test set is scored; if a promotion has decided about this model by half of it, name the model"
    " models:/NAME@ALIAS, for the other half alone",
}
"""What is printed, by whether the model is registered, where half of each test set decides promotions."""


@app.command(cls=Command)
def task(
    model: Model,
    name: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Its name; default: the task of the model's corpus.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="All test sets, not the validation split.")] = False,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> int:
    """Score a trained model on its task, next to doing nothing.

    Exit status 1: on some set the model's interval does not lie above every idle answer.
    """
    from tune.records.models import find_model, say_of_other_data

    home = state_dir(state)
    found = find_model(model, home)
    from t5vqvae.data.gate_split import kind_of_gate
    from t5vqvae.tasks.all_tasks import task_of
    from t5vqvae.tasks.report import judge_model
    from tune.records.loading import loaded_model

    asked = task_of(found.spec.data.corpus, name)
    say_of_other_data(found, home / "cache")
    decides, is_promoted = test and kind_of_gate(found.spec.data) == "half", model.startswith("models:")
    judged = judge_model(
        asked,
        loaded_model(found.folder),
        found.spec,
        home / "cache",
        "test" if test else "validation",
        half=decides and is_promoted,
    )
    rows = [row for each in judged for row in _printed(each, asked.main_score)]
    notes = [_HALVES[is_promoted]] if decides else []
    Rows(rows, notes=[line for each in judged for line in _said(each)] + notes).write(form, output)
    return 0 if all(each.is_learnt for each in judged) else NOTHING_WORKED


def _printed(judged: Judgement, main_score: str) -> list[dict[str, object]]:
    return [
        {
            "set": judged.split,
            "who": row.name,
            main_score: round(row.score, 4),
            "low": round(row.low, 4),
            "high": round(row.high, 4),
            **{name: round(value, 4) for name, value in row.others.items()},
        }
        for row in judged.rows
    ]


def _said(judged: Judgement) -> list[str]:
    """Returns the verdict about a set, and what was right by kind of question where there are several."""
    kinds = [f"{kind} {score:.3f} of {number}" for kind, (score, number) in judged.kinds.items()]
    return [_verdict(judged)] + ([f"{judged.split} by kind: {', '.join(kinds)}"] if len(kinds) > 1 else [])


def _verdict(judged: Judgement) -> str:
    model, *idle = judged.rows
    best = max(idle, key=lambda row: row.score)
    word = "learnt" if judged.is_learnt else "not learnt"
    return (
        f"{judged.split}: {word}: {model.score:.3f} [{model.low:.3f}, {model.high:.3f}] on {judged.num_questions}"
        f" questions; best of doing nothing: {best.name}, {best.score:.3f}"
    )
