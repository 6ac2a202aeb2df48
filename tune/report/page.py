"""The frame of a report: one HTML file that opens offline, on a phone too, with Plotly packed inside.

Plotly's library is 4.8 MB as it is; gzipped and in base64 it is 2 MB, and the browser unpacks it
(`DecompressionStream`, in every browser since 2023). What a reader needs first (question, answer, forest plot) is plain
HTML and does not wait for it. A figure is a dictionary with Plotly's `data` and `layout`.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

Figure = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: Its heading; empty for none.
        body: HTML.
        figures: Drawn below the body, each with a caption in words.
    """

    title: str
    body: str = ""
    figures: tuple[tuple[str, Figure], ...] = ()


def page(title: str, sections: Sequence[Section]) -> str:
    """Returns the whole file; without figures it carries no Plotly."""
    figures = [figure for section in sections for _, figure in section.figures]
    numbered = iter(range(len(figures)))
    body = "\n".join(_section(section, numbered) for section in sections)
    scripts = _scripts(figures) if figures else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"{scripts}</body>\n</html>\n"
    )


def _section(section: Section, numbered: Any) -> str:
    title = f"<h2>{html.escape(section.title)}</h2>\n" if section.title else ""
    figures = "".join(
        f'<figure><div class="plot" id="figure-{next(numbered)}"></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>\n"
        for caption, _ in section.figures
    )
    return f"<section>\n{title}{section.body}\n{figures}</section>"


def _scripts(figures: Sequence[Figure]) -> str:
    data = json.dumps([_finite(figure) for figure in figures], separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<script type="application/json" id="figures">{data}</script>\n'
        f'<script type="application/gzip" id="plotly">{_packed_plotly()}</script>\n<script>{LOADER}</script>\n'
    )


def _finite(value: Any) -> Any:
    """Returns plain values with what JSON has no word for (NaN, infinities) as null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _packed_plotly() -> str:
    """Returns plotly.js as the plotly package ships it, gzipped, in base64; the same bytes every time."""
    source = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(source, 9, mtime=0)).decode("ascii")


def anchor(text: str) -> str:
    """Returns a text as the id of an element."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def link(text: str, url: str | None) -> str:
    """Returns escaped text, linked where there is a web address or an anchor to link to."""
    inside = html.escape(text)
    safe = url is not None and url.startswith(("http://", "https://", "#"))
    return f'<a href="{html.escape(url or "", quote=True)}">{inside}</a>' if safe else inside


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """Returns an HTML table that scrolls sideways on a narrow screen.

    Args:
        head: Plain text.
        rows: HTML cells.
        numeric_from: The first column that is set flush right.
    """

    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = ["" if i < numeric_from else ' class="n"' for i in range(len(values))]
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    titles = cells("th", [html.escape(title) for title in head])
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def listing(sentences: Sequence[str]) -> str:
    """Returns sentences as a list, or nothing."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


LOADER = """
(async () => {
  const plots = [...document.querySelectorAll('.plot')];
  try {
    const packed = Uint8Array.from(atob(document.getElementById('plotly').textContent), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(stream).text();
    document.head.appendChild(script);
    const figures = JSON.parse(document.getElementById('figures').textContent);
    const shared = {font: {family: 'system-ui, sans-serif', size: 13, color: '#1c2733'}, paper_bgcolor: '#fff',
      plot_bgcolor: '#fff', colorway: ['#0b6e99', '#d1495b', '#edae49', '#4c956c', '#7a5195', '#66707a']};
    plots.forEach((plot, i) => {
      const layout = {...shared, ...figures[i].layout};
      Plotly.newPlot(plot, figures[i].data, layout, {responsive: true, displayModeBar: false});
      plot.on('plotly_click', event => {
        const url = event.points && event.points[0] && event.points[0].customdata;
        if (typeof url === 'string' && /^(https?:|#)/.test(url)) window.open(url, url[0] === '#' ? '_self' : '_blank');
      });
    });
  } catch (error) {
    plots.forEach(plot => { plot.textContent = 'This browser cannot draw the figure (' + error.message + ').'; });
  }
})();
"""

STYLE = """
:root{color-scheme:light;--ink:#1c2733;--soft:#5a6773;--line:#dde3e8;--good:#0b6e99;--bad:#c23b4f;--same:#4c956c;
--open:#7b8794;--warn:#b7791f}
*{box-sizing:border-box}
body{margin:0;background:#f5f7f9;color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:960px;margin:0 auto;padding:0 16px 48px}
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:16px 20px;margin:16px 0;overflow:hidden}
h1{font-size:1.35rem;line-height:1.3;margin:.2rem 0 .6rem}h2{font-size:1.1rem;margin:.1rem 0 .7rem}
.study{color:var(--soft);font-size:.85rem;margin:0}
.answer{font-size:1.05rem;margin:.4rem 0 1rem;border-left:4px solid var(--good);padding-left:12px}
.note,figcaption,li{color:var(--soft);font-size:.88rem}ul{padding-left:1.1rem;margin:.5rem 0}figure{margin:1rem 0 0}
a{color:inherit;text-decoration-color:#9fb3c1;text-underline-offset:2px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
th{color:var(--soft);font-weight:600}.n{text-align:right}td:first-child,th:first-child{padding-left:0}
.forest{display:grid;grid-template-columns:minmax(100px,max-content) max-content minmax(120px,1fr);gap:2px 16px;
align-items:center}.forest .row{display:contents}
.track{position:relative;height:30px}.track i{position:absolute;display:block}
.zero{left:50%;width:1px;top:0;bottom:0;background:#9aa7b2}.margin{top:0;bottom:0;background:#eaf3ec}
.bar{top:14px;height:3px;border-radius:2px;background:currentColor}
.dot{top:9px;width:13px;height:13px;margin-left:-6px;border-radius:50%;background:currentColor}
.better{color:var(--good)}.worse{color:var(--bad)}.equivalent{color:var(--same)}.undecided{color:var(--open)}
.unstable{color:var(--warn)}
.badge{display:inline-block;font-size:.78rem;font-weight:600;border:1px solid currentColor;
border-radius:99px;padding:0 8px}
.arm{font-weight:600}.numbers{text-align:right;font-size:.88rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.ends{display:flex;justify-content:space-between}
.plot{min-height:120px;width:100%}
@media(max-width:640px){main{padding:0 8px 32px}section{padding:12px 14px}
.forest{grid-template-columns:1fr auto;gap:0 10px}.forest .track,.forest .ends{grid-column:1/-1;margin-bottom:10px}
.forest .blank{display:none}}
"""
