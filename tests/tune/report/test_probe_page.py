"""The page of a probe: what edits changed as a figure, paths side by side, and no word of a model as markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

from t5vqvae.measures.base import Row
from t5vqvae.measures.probing import ProbeResult
from t5vqvae.spec.probe import EDIT_CHANGES, PATHS, ProbeSpec
from t5vqvae.spec.run import RunSpec
from tune.records.models import FoundModel
from tune.report.edit_figure import edit_changes_figure
from tune.report.marked_texts import marked, side_by_side
from tune.report.probe_report import write_probe

HOSTILE = "<img src=x onerror=alert(1)>"


def changes(*cells: tuple[str, str, str, float, float]) -> list[Row]:
    return [{"factor": factor, "kind": kind, "words": words, "changed": changed, "should": should, "edits": 8}
            for factor, kind, words, changed, should in cells]  # fmt: skip


ROWS = changes(
    ("ARG1", "local", "edited words", 1.0, 1.0),
    ("ARG1", "local", "V", 0.25, 0.0),
    ("agreement", "distributed", "edited words", 1.0, 1.0),
    ("agreement", "distributed", "ARG0", 0.0, 0.0),
    ("agreement", "distributed", "V", 0.0, 0.5),
)


def path(number: int, texts: list[str], smoothness: float | None = 0.5, counts: bool = True) -> list[Row]:
    return [{"path": number, "step": step, "decoded": text, "IS": smoothness, "counts": str(counts)}
            for step, text in enumerate(texts)]  # fmt: skip


def test_a_cell_shows_how_often_words_differ_and_should() -> None:
    figure = edit_changes_figure(ROWS)
    trace = figure["data"][0]
    assert trace["x"] == ["edited words", "ARG0", "V"] and trace["y"] == ["ARG1", "agreement"]
    assert trace["z"] == [[0, None, 0.25], [0, 0, -0.5]], "too much is above 0, and too little below"
    assert trace["text"] == [["100 / 100", "", "25 / 0"], ["100 / 100", "0 / 0", "0 / 50"]]
    assert "agreement (distributed), V:<br>changed by 0 of 100 edits, should by 50; 8 edits" in trace["hovertext"][1]
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [0.5], "local factors above, distributed below"
    assert edit_changes_figure(ROWS[:2])["layout"]["shapes"] == []


def test_paths_stand_side_by_side_and_changed_words_are_marked() -> None:
    rows = path(0, ["a bat eats", "a cat eats", "a cat eats eggs"]) + path(1, ["go", "go"], None, counts=False)
    found = side_by_side(rows)
    assert re.findall(r"<th(?: [^>]*)?>(.*?)</th>", found) == [
        "step",
        "path 0: IS 0.50",
        "path 1: IS undefined, does not count",
    ]
    body = [re.findall(r"<td>(.*?)</td>", line) for line in found.splitlines()[1:-1]]
    assert body == [
        ["0", "a bat eats", "go"],
        ["1", "a <mark>cat</mark> eats", "go"],
        ["2", "a cat eats <mark>eggs</mark>", ""],
    ]
    assert '<div class="wide">' in found, "it scrolls by itself on a narrow screen"


def test_words_are_no_markup() -> None:
    assert marked("<b> x", "x") == "<mark>&lt;b&gt;</mark> x"
    found = side_by_side(path(0, [HOSTILE, f"{HOSTILE} <script>"]))
    assert "<img" not in found and "<script" not in found and "&lt;script&gt;" in found


def test_the_page_draws_the_changes_and_its_file_has_them_as_rows(tmp_path: Path) -> None:
    hostile = changes((HOSTILE, "local", HOSTILE, 1.0, 1.0))
    tables = {EDIT_CHANGES: [*ROWS, *hostile], PATHS: path(0, ["a bat", f"a {HOSTILE}"])}
    found = FoundModel(tmp_path, RunSpec(), f"checkpoint {HOSTILE}")
    page, file = write_probe(ProbeResult({"control/validity": 0.5}, tables, []), found, ProbeSpec(), tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text and "<mark>" in text
    figures = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert figures is not None and json.loads(figures[1])[0]["data"][0]["y"][:2] == ["ARG1", "agreement"]
    assert json.loads(file.read_text(encoding="utf-8"))["tables"][EDIT_CHANGES][:5] == ROWS
