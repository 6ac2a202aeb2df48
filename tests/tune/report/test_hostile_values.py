"""Reports whose names, values, questions and addresses are hostile: figures stay, nothing runs, values are read."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tune.analysis import Question, RunRow, compare_arms, cost, factorial_effects, full_contrasts
from tune.monitor.formats import plain_text
from tune.report import AblationReport, SearchReport
from tune.report.page import anchor

METRIC = "validation/nll_per_char"
RUN = "document.title='run'"
HOSTILE = [
    "<!--<script>",
    f"</script><script>{RUN}</script>",
    "]]>",
    "a\u2028b",
    "two\nlines | and a pipe",
    "``code``",
    f'" onmouseover="{RUN}',
    f"<img src=x onerror={RUN}>",
    f'<a href="javascript:{RUN}">x</a>',
    '=cmd|"/c calc"!A1',
    "[red] x [/red]",
    "\x1b[31mred",
    "\ud83d",
    "\0",
    "1",
    "2024-01-01",
    "x" * 5000 + "1",
    "x" * 5000 + "2",
]
VALUES: list[object] = [*HOSTILE, [1, "<b>"], [], {"a": None}, None, math.nan, math.inf, -math.inf, 10**400, True, 0]


def search() -> SearchReport:
    """A search whose setting `a` takes every value; it has an address that is none, too."""
    trials = []
    for number, value in enumerate(VALUES * 2):
        overrides = {"quantizer.a": value, "optim.learning_rate": 10 ** -(1 + number % 4), "quantizer.b": number % 5}
        metrics = {METRIC: 1 / (1 + number), "rate/bits_per_token": 8.0 + number % 3, "cost/step_seconds": 0.1}
        trial = {"number": number, "overrides": overrides, "status": "completed", "metrics": metrics, "seconds": 60.0}
        trials.append(trial | {"run_id": f"r{number}", "mlflow_id": HOSTILE[number % len(HOSTILE)], "steps": 100})
    urls = {0: f"javascript:{RUN}", 1: 'http://a/"><script>'}
    notes = [f"constraint: {value}" for value in HOSTILE]
    return SearchReport("quick", HOSTILE[1], trials, METRIC, "minimize", 3, cost(trials, 2), urls=urls, notes=notes)


def ablation(arms: list[str] = HOSTILE, question: str = HOSTILE[1], **changes: Any) -> AblationReport:
    """An ablation whose arms have these names, questions and settings."""
    shift = {arm: 0.01 * place for place, arm in enumerate(["baseline", *arms])}
    rows = [
        RunRow(arm, seed, "completed", {METRIC: shift[arm] + seed, "rate/bits_per_token": 8.0}, f"{arm}{seed}")
        for arm in shift
        for seed in range(4)
    ]
    found = compare_arms(rows, "baseline", list(arms), range(4), Question(METRIC, "minimize", margin=0.01))
    overrides = {arm: {"quantizer.a": value} for arm, value in zip(arms, VALUES, strict=False)}
    named = {arm: arm for arm in arms}
    return AblationReport("parts", question, found, named, overrides, overrides, notes=arms, **changes)


def factorial() -> AblationReport:
    """A factorial with hostile levels."""
    cells = {(a, b): {s: s - 0.5 * a + 0.1 * s * b for s in range(4)} for a in range(2) for b in range(2)}
    levels = {"quantizer.a": HOSTILE[:2], "quantizer.b": [HOSTILE[7], HOSTILE[16]]}
    effects = factorial_effects(cells, full_contrasts({"quantizer.a": 2, "quantizer.b": 2}), None)
    return ablation(effects=effects, levels=levels)


MADE = pytest.mark.parametrize("made", [search(), ablation(), factorial()], ids=["search", "ablation", "factorial"])


class Page(HTMLParser):
    """The elements of a page, with the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts[-1] += data


def texts(made: AblationReport | SearchReport, folder: Path) -> Mapping[str, str]:
    return {path.name: path.read_bytes().decode("utf-8") for path in made.write(folder)}


@MADE
def test_a_page_has_its_own_elements_only(made: AblationReport | SearchReport) -> None:
    page = Page(made.html())
    assert page.tags <= set(
        [
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "section",
            "p",
            "h1",
            "h2",
            "ul",
            "li",
            "div",
            "span",
            "i",
            "a",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "figure",
            "figcaption",
            "wbr",
            "script",
        ]
    )
    assert page.attributes <= set(
        ["lang", "charset", "name", "content", "class", "id", "href", "title", "style", "type"]
    )
    assert len(page.scripts) == 3


@MADE
def test_figures_survive_any_value(made: AblationReport | SearchReport) -> None:
    text = made.html()
    [figures] = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert figures.isascii() and not set(figures) & set("<>&")
    assert len(json.loads(figures)) == text.count('class="plot"') >= 2


@MADE
def test_markdown_has_no_html_and_no_link(made: AblationReport | SearchReport) -> None:
    shown = Page(MarkdownIt("commonmark").enable("table").render(made.markdown()))
    expected = ["h1", "h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"]
    assert shown.tags <= set(expected), shown.tags - set(expected)


@MADE
def test_files_are_utf_8_without_control_characters(made: AblationReport | SearchReport, tmp_path: Path) -> None:
    for name, text in texts(made, tmp_path).items():
        if not name.endswith(".csv"):  # which holds values whole
            assert [letter for letter in set(text) if not letter.isprintable()] in ([], ["\n"]), name


def test_csv_holds_every_value_whole_and_computes_none(tmp_path: Path) -> None:
    text = texts(search(), tmp_path)["trials.csv"]
    cells = [row["quantizer.a"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert cells[HOSTILE.index('=cmd|"/c calc"!A1')] == '\'=cmd|"/c calc"!A1'
    assert cells[HOSTILE.index("two\nlines | and a pipe")] == "two\nlines | and a pipe"
    assert cells[HOSTILE.index("x" * 5000 + "1")] == "x" * 5000 + "1"
    assert cells[len(HOSTILE) : len(VALUES)] == [
        "[1, '<b>']", "[]", "{'a': None}", "", "nan", "inf", "-inf", "1" + "0" * 400, "True", "0",
    ]  # fmt: skip


def test_arms_that_differ_in_odd_letters_have_their_own_places() -> None:
    names = ["a b", "a-b", "a|b", "x" * 99 + "1", "x" * 99 + "2"]
    assert len(set(map(anchor, names))) == len(names)
    page = ablation(arms=names).html()
    for name in names:
        assert page.count(f'id="runs-{anchor(name)}"') == 1


def test_a_latex_table_has_no_argument_of_a_line_break(tmp_path: Path) -> None:
    lines = texts(ablation(), tmp_path)["effects.tex"].splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 1 + len(HOSTILE)
    assert [line for line in rows if line.startswith(("[", "*"))] == []


def test_numbers_that_no_scale_holds_are_levels_by_their_names() -> None:
    text = search().html()
    [figures] = re.findall(r'id="figures">(.*?)</script>', text, re.S)
    parallel = [t for f in json.loads(figures) for t in f["data"] if t["type"] == "parcoords"]
    [axis] = [axis for axis in parallel[0]["dimensions"] if axis["label"] == "a"]
    assert {"nan", "inf", "-inf", "[1, '<b>']", "{'a': None}", "-", "true"} <= set(axis["ticktext"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None and not os.environ.get("CI"), reason="needs chromium")
@MADE
def test_a_browser_draws_the_figures_and_runs_nothing(made: AblationReport | SearchReport, tmp_path: Path) -> None:
    [page] = [path for path in made.write(tmp_path) if path.suffix == ".html"]
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}/profile"]
    command = ["chromium", *flags, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = re.findall(r'class="plot js-plotly-plot"', dom)
    assert len(drawn) == page.read_text(encoding="utf-8").count('class="plot"') >= 2
    shown = Page(dom)
    assert "cannot draw" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert re.search(r"<title>(.*?)</title>", dom, re.S)[1] != "run"  # type: ignore[index]
    assert not {name for name in shown.attributes if name.startswith("on")}
    assert "img" not in shown.tags
    assert plain_text(HOSTILE[4]) in dom
