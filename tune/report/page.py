"""Builds the page of a report: one HTML file that opens offline and on a phone, with Plotly packed inside.

Style and script lie in `assets/` and become part of the page. Plotly's library has 4.8 MB; gzipped and in base64 it has
2 MB, and the browser unpacks it (`DecompressionStream`, in every browser since 2023); a light page, for a repository,
fetches it from Plotly's site. Question, answer and forest plot,
which a reader needs first, are plain HTML and do not wait for it. A figure is a dictionary with Plotly's `data` and
`layout`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs_version

from t5vqvae.files import digest
from tune.monitor.formats import html_text, script_json

Figure = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: Its heading; empty for none.
        body: HTML.
        figures: Drawn below the body, each with its caption.
    """

    title: str
    body: str = ""
    figures: tuple[tuple[str, Figure], ...] = ()


def page(title: str, sections: Sequence[Section], light: bool = False) -> str:
    """Returns the text of the whole file; without figures it contains no Plotly.

    Args:
        title: Its title.
        sections: What it holds.
        light: Fetch Plotly from its own site: a page of kilobytes, whose figures are drawn online only.
    """
    figures = [figure for section in sections for _, figure in section.figures]
    numbered = iter(range(len(figures)))
    body = "\n".join(_section(section, numbered) for section in sections)
    scripts = _scripts(figures, light) if figures else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>\n{_asset('report.css')}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"{scripts}</body>\n</html>\n"
    )


def _section(section: Section, numbered: Iterator[int]) -> str:
    title = f"<h2>{html_text(section.title)}</h2>\n" if section.title else ""
    figures = "".join(
        f'<figure><div class="plot" id="figure-{next(numbered)}"></div>'
        f"<figcaption>{html_text(caption)}</figcaption></figure>\n"
        for caption, _ in section.figures
    )
    return f"<section>\n{title}{section.body}\n{figures}</section>"


def _scripts(figures: Sequence[Figure], light: bool) -> str:
    kind, plotly = ("text/plain", _address_of_plotly()) if light else ("application/gzip", _packed_plotly())
    return (
        f'<script type="application/json" id="figures">{script_json(figures)}</script>\n'
        f'<script type="{kind}" id="plotly">{plotly}</script>\n'
        f"<script>\n{_asset('report.js')}</script>\n"
    )


def _asset(name: str) -> str:
    """Returns a file of `assets/`."""
    return files("tune.report").joinpath("assets", name).read_text(encoding="utf-8")


def _address_of_plotly() -> str:
    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"


@cache
def _packed_plotly() -> str:
    """Returns the plotly package's plotly.js, gzipped, in base64; the same bytes every time."""
    source = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(source, 9, mtime=0)).decode("ascii")


def anchor(text: str) -> str:
    """Returns a text as the id of an element; different texts have different ids."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in text[:40])
    return plain if plain == text else f"{plain}-{digest(text)[:6]}"


def link(text: str, url: str | None) -> str:
    """Returns escaped text; it is a link if the URL is a web address or an anchor of the page."""
    inside = html_text(text)
    safe = url is not None and url.startswith(("http://", "https://", "#"))
    return f'<a href="{html_text(url)}">{inside}</a>' if safe else inside


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """Returns an HTML table that scrolls sideways on a narrow screen.

    Args:
        head: Plain text.
        rows: HTML cells.
        numeric_from: The first column that is aligned to the right.
    """

    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = ["" if i < numeric_from else ' class="n"' for i in range(len(values))]
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    titles = cells("th", [html_text(title).replace("_", "_<wbr>") for title in head])
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def listing(sentences: Sequence[str]) -> str:
    """Returns sentences as an HTML list; without sentences, nothing."""
    items = "".join(f"<li>{html_text(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""
