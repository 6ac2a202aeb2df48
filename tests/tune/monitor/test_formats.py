"""Every format shows a value as the text that it is: nothing in it is markup, a formula or a command."""

from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tune.monitor.formats import (
    csv_cell,
    html_text,
    latex_text,
    markdown_table,
    markdown_text,
    plain_text,
    plotly_text,
    plotly_title,
    script_json,
    shortened,
)

HOSTILE = [
    "<!--<script>",
    "</script><script>alert(1)</script>",
    "]]>",
    "a\u2028b",
    "two\nlines",
    "`code`",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    '=cmd|"/c calc"!A1',
    "|",
    r"\|",
    "\x1b[31mred\x1b[0m",
    "[red]bold[/red]",
    "[a](javascript:alert(1))",
    "![a](http://a/b.png)",
    "[a]: http://a",
    "<img src=x onerror=alert(1)>",
    "# heading",
    "- item",
    "1. item",
    "---",
    "***",
    "> quote",
    "*a* _b_ ~~c~~ $d$",
    "&lt;b&gt; &amp; &#60;",
    "\0",
    "\ud83d",
    "\u202egnp.exe",
    "x" * 100_000,
]
TEXTS = st.one_of(st.text(st.sampled_from("\\|`*_[]()<>&#-+=.!~$1 a\n\"'"), max_size=30), st.text(max_size=30))


class Shown(HTMLParser):
    """Collects what a browser would show, and the tags around it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes = "", [], {}
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)


@pytest.mark.parametrize("value", HOSTILE)
def test_html_shows_the_value_and_nothing_else(value: str) -> None:
    shown = Shown(f'<p title="{html_text(value)}">{html_text(value)}</p>')
    assert (shown.tags, list(shown.attributes)) == (["p"], ["title"])
    assert shown.text == shown.attributes["title"] == plain_text(value)


@given(TEXTS)
def test_html_is_read_back_as_the_text(value: str) -> None:
    assert Shown(f"<p>{html_text(value)}</p>").text == plain_text(value)


def _rendered(markdown: str) -> Shown:
    return Shown(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


@pytest.mark.parametrize("value", HOSTILE)
def test_markdown_shows_the_value_and_nothing_else(value: str) -> None:
    shown = _rendered(f"- {markdown_text(value)}\n")
    assert shown.tags == ["ul", "li"]
    assert shown.text.strip() == plain_text(value).strip()


@given(TEXTS)
def test_markdown_is_read_back_as_the_text(value: str) -> None:
    assert _rendered(f"**x {markdown_text(value)} x**").text.split() == ["x", *plain_text(value).split(), "x"]
    assert _rendered(f"- {markdown_text(value)}").text.split() == plain_text(value).split()


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=3))
def test_a_markdown_table_keeps_its_cells(rows: list[list[str]]) -> None:
    shown = _rendered(markdown_table(["a", "b", "c"], rows))
    assert shown.tags.count("td") == 3 * len(rows)
    assert set(shown.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    words = [word for row in rows for cell in row for word in plain_text(cell).split()]
    assert shown.text.split() == ["a", "b", "c", *words]


def test_markdown_stays_readable() -> None:
    assert markdown_text("nll_per_char +0.118 [+0.091, +0.145] (95% interval), p < .001") == (
        "nll_per_char +0.118 [+0.091, +0.145] (95% interval), p &lt; .001"
    )
    assert markdown_text("data.tokenizer.vocab_size=300") == "data.tokenizer.vocab_size=300"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_terminal_gets_one_line_without_control_characters(value: str) -> None:
    assert plain_text(value).isprintable()
    assert plain_text(value).encode()


def test_control_characters_are_written_out() -> None:
    assert plain_text("\x1b[31mred\r\n\u202ex\0\ud83d") == r"\x1b[31mred  \u202ex\x00\ud83d"
    assert plain_text("größer, 中文, \u200dfamily") == "größer, 中文, \u200dfamily"


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_a_spreadsheet_computes_no_text(value: str) -> None:
    assert csv_cell(value) == f"'{value}"


def test_numbers_of_csv_stay_numbers() -> None:
    values = [-0.5, 3, True, None, "word", "a=b", ""]
    assert [csv_cell(value) for value in values] == values
    assert math.isnan(csv_cell(math.nan))  # type: ignore[arg-type]


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1))
def test_csv_keeps_its_cells(rows: list[list[str]]) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(map(csv_cell, row) for row in rows)
    read = list(csv.reader(io.StringIO(file.getvalue().encode().decode(), newline="")))
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.replace("\0", r"\x00").removeprefix("'") for cell in row] for row in rows
    ]


@pytest.mark.parametrize("value", HOSTILE)
def test_json_in_a_script_neither_ends_nor_opens_anything(value: str) -> None:
    text = script_json([{value: [value, math.nan, math.inf]}])
    assert text.isascii() and not set(text) & set("<>&")
    assert json.loads(text) == [{value: [value, None, None]}]


def test_latex_has_no_command_and_no_argument_of_a_line_break() -> None:
    assert latex_text(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex_text("[red] 50% a_b") == r"{[}red{]} 50\% a\_b"
    assert latex_text("two\n\nlines") == "two  lines"


def test_plotly_gets_no_tag() -> None:
    assert plotly_text('<a href="javascript:alert(1)">x</a>').count("<") == 0
    assert plotly_text("a<b & c") == "a&lt;b &amp; c"


def test_the_title_of_an_axis_is_whole_and_breaks_at_its_last_comma() -> None:
    assert plotly_title("nll, nats a token") == "nll, nats a token"
    assert plotly_title("rate (upper bound), bits a token") == "rate (upper bound), bits a token"
    long = "sparse_distributed_intervention, answers an edit"
    assert plotly_title(long) == "sparse_distributed_intervention,<br>answers an edit"
    assert plotly_title(f"<b>{long}") == f"&lt;b&gt;{plotly_title(long)}"


def test_long_values_are_cut_and_stay_different() -> None:
    one, other = shortened("x" * 500 + "1"), shortened("x" * 500 + "2")
    assert len(one) == len(other) == 80
    assert one != other
    assert shortened("x" * 80) == "x" * 80
