"""Writes reports of studies: one self-contained HTML file, with the same content in Markdown, CSV and LaTeX.

`AblationReport` and `SearchReport` hold the content, and `write(folder)` writes it. `page.py` builds the page around
`assets/`, `figures.py` the figures, `tables.py` the tables, `sentences.py` the sentences.
"""

from tune.report.ablation_report import AblationReport
from tune.report.build import search_report
from tune.report.search_report import SearchReport

__all__ = ["AblationReport", "SearchReport", "search_report"]
