"""The columns of a study's trials on a command line: found by name, sorted by, filtered by, and shown in a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from t5vqvae.config import short_names
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metric import JOINT_RATE, RATE, TOKEN_ENTROPY
from tune.operations.printed_rows import PrintedRow, Rows
from tune.records.running import STATUSES
from tune.records.study import Study

FIRST = ("trial", "status")
LABELS = "labels"
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {"<=": le, ">=": ge, "!=": ne, "=": eq, "<": lt, ">": gt}
FILTER = re.compile(r"\s*(?P<column>[^<>=!\s]+)\s*(?P<relation><=|>=|!=|==|=|<|>)\s*(?P<value>\S.*?)\s*")
ORDERED = ("<=", ">=", "<", ">")


def column_of(name: str, rows: Sequence[PrintedRow], option: str) -> str:
    """Returns the column that a user names: by its name, or by its last part, as a table heads it.

    Of several with the same last part, a setting or a validation metric is meant.

    Raises:
        SettingError: If there is none, or several.
    """
    columns = list(rows[0])
    if name in columns:
        return name
    found = [column for column in columns if _last_part(column) == name]
    meant = [column for column in found if "/" not in column or column.startswith("validation/")] or found
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise SettingError(f"{option} {name} could be {' or '.join(meant)}; write one of them in full")
    close = did_you_mean(name, {*columns, *map(_last_part, columns)})
    way_out = close if "did you mean" in close else "; t5vqvae trials STUDY --format csv prints all columns"
    raise SettingError(f"{option}: there is no column {name}{way_out}")


def _last_part(column: str) -> str:
    return re.split(r"[./]", column.removesuffix(".name"))[-1]


def sorted_rows(rows: list[PrintedRow], by: str) -> list[PrintedRow]:
    """Returns rows by a column, ascending; `-COLUMN` is descending. Rows without a value are last."""
    column, falling = column_of(by.removeprefix("-"), rows, "--sort"), by.startswith("-")
    have = [row for row in rows if row[column] is not None]
    texts = any(isinstance(row[column], str) for row in have)

    def key(row: PrintedRow) -> Any:
        return str(row[column]) if texts else row[column]

    return sorted(have, key=key, reverse=falling) + [row for row in rows if row[column] is None]


def filtered_rows(rows: list[PrintedRow], text: str) -> list[PrintedRow]:
    """Returns the rows that keep a condition, such as `nll < 1.5` or `status = completed`.

    Raises:
        SettingError: If it is no condition on one of their columns.
    """
    match = FILTER.fullmatch(text)
    if match is None:
        raise SettingError(f"--filter {text!r} must read as 'COLUMN < VALUE', with one of <, <=, >, >=, = and !=")
    column = column_of(match["column"], rows, "--filter")
    relation = match["relation"].replace("==", "=")
    value = _number(match["value"].strip("'\""))
    present = [row[column] for row in rows if row[column] is not None]
    numbers = all(isinstance(each, int | float) for each in present)
    if relation in ORDERED and (isinstance(value, str) or not numbers):
        known = f"{column} is text" if not numbers else f"{match['value']} is no number"
        raise SettingError(f"--filter {text!r}: {known}; compare it by = or !=, or another column by {relation}")
    if column == "status" and value not in {*present, *STATUSES}:
        raise SettingError(f"--filter {text!r}: there is no status {value}{did_you_mean(value, STATUSES)}")
    return [
        row for row in rows if row[column] is not None and RELATIONS[relation](_comparable(row[column], value), value)
    ]


def shown_trials(study: Study, rows: Sequence[PrintedRow], notes: Sequence[str] = ()) -> Rows:
    """Returns rows of trials for printing.

    In a narrow table the tokens' entropy and the labels give way first, then settings, then costs.
    """
    if not rows:
        return Rows([], notes, columns=list(study.rows()[0]))
    varied = [p for p in study.settings if len({repr(row[p]) for row in rows}) > 1 or len(rows) == 1]
    rate = next((key for key in (JOINT_RATE, RATE) if key in rows[0] and key not in study.objectives), None)
    costs = ["step", "seconds", *([rate] if rate else [])]
    marks = [name for name in (LABELS, TOKEN_ENTROPY) if any(row.get(name) is not None for row in rows)]
    shown = [*FIRST, *study.objectives, *costs, *reversed(marks), *varied]
    ordered = [{name: row[name] for name in [*shown, *(n for n in row if n not in shown)]} for row in rows]
    hidden = [name for name in ordered[0] if name not in shown]
    titles = {
        TOKEN_ENTROPY: "tokens' entropy",
        **short_names(varied),
        **{metric: metric.partition("/")[2] for metric in study.objectives},
    }
    if rate:
        titles[rate] = "bits/token"
    return Rows(ordered, notes, hidden=hidden, yielding=[*reversed(costs), *varied, *marks], titles=titles)


def _number(text: str) -> float | str | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _comparable(found: object, value: object) -> object:
    """Returns what a row holds in the form in which it can be compared with a value."""
    return str(found) if isinstance(value, str) else found
