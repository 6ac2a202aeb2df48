"""Writes values into a format, one function per format, so that no value is read as markup, formula or command.

Names of arms, settings' values, questions and errors are the user's: each may hold `<script>`, `|`, `=cmd`, `[red]`, a
line break or an escape sequence.
"""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Number

from t5vqvae.files import digest

LONGEST = 80
"""The most characters of a value that a table or a figure shows; a CSV file holds it whole."""
LINE = 35
"""The most characters of a figure's axis title in one line, which a phone shows whole."""
_BREAKS = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(
    r"[\\`*~|$]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside of a word it is no emphasis
    r"|(?<=\])[(\[:]"  # of a link, its text may stay: `[0.1, 0.2]` is an interval
    r"|^(?:[#>]|[-+=](?=[\s=-]|$)|\d{1,9}(?=[.)](?:\s|$)))"
)
_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "[": "{[}", "]": "{]}"}
_LATEX |= {"\N{MINUS SIGN}": "$-$", "\N{PLUS-MINUS SIGN}": r"$\pm$", '"': r"\textquotedbl{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "*": "{*}"}


def plain_text(value: object) -> str:
    """Returns a value as one line for a terminal: line breaks are spaces, control characters are written out.

    So are halves of surrogate pairs, which no encoding takes, and marks that reverse the direction of what follows.
    """
    text = str(value)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter in _BREAKS:
        return " "
    hidden = letter in _DIRECTIONS or unicodedata.category(letter) in ("Cc", "Cs")
    return letter.encode("unicode_escape").decode("ascii") if hidden else letter


def shortened(value: object, longest: int = LONGEST) -> str:
    """Returns a value as one line of at most `longest` characters; different long values stay different."""
    text = plain_text(value)
    return text if len(text) <= longest else f"{text[: longest - 8]}\N{HORIZONTAL ELLIPSIS}~{digest(text)[:6]}"


def html_text(value: object) -> str:
    """Returns a value as the text of an HTML element, or of an attribute in quotes."""
    return html.escape(plain_text(value))


def markdown_text(value: object) -> str:
    """Returns a value as text of Markdown (CommonMark, and the tables of GitHub), without a special meaning."""
    text = plain_text(value).strip()
    escaped = _MARKDOWN.sub(lambda found: _with_backslash(found[0]), text)
    return re.sub(r"&(?=#?\w+;)", "&amp;", escaped).replace("<", "&lt;")


def _with_backslash(found: str) -> str:
    return f"{found}\\" if found.isdigit() else f"\\{found}"


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table; its first and last columns are aligned to the left, the others to the right."""
    marks = ["---", *["---:"] * (len(head) - 2), "---"]
    # A lone dash, which would be an item of a list elsewhere, is what these tables show for nothing.
    cells = [["-" if cell == "-" else markdown_text(cell) for cell in row] for row in (head, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], marks, *cells[1:]])


def latex_text(value: object) -> str:
    """Returns a value as text of LaTeX; brackets are grouped, because `\\\\` takes one that follows as its argument."""
    return "".join(_LATEX.get(letter, letter) for letter in plain_text(value))


def csv_cell(value: object) -> object:
    """Returns a value as a cell of CSV; a text that a spreadsheet would compute gets an apostrophe in front."""
    if value is None or isinstance(value, Number):
        return value
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20") else text


def plotly_text(value: object) -> str:
    """Returns a value as a label of a Plotly figure, which takes some tags of HTML and entities."""
    return html.escape(shortened(value, LONGEST // 2), quote=False)


def plotly_title(value: object) -> str:
    """Returns a value as the title of an axis of a Plotly figure; a long one has a second line after its last comma."""
    text = html.escape(shortened(value), quote=False)
    return text if len(text) <= LINE else ",<br>".join(text.rsplit(", ", 1))


def script_json(values: object) -> str:
    """Returns plain values as JSON inside a `<script>`: ASCII without `<`, `>` and `&`; NaN and infinities are null."""
    text = json.dumps(_finite(values), separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
