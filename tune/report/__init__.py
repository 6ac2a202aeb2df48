"""Reports of studies: one self-contained HTML file, with Markdown, CSV and LaTeX next to it.

`AblationReport` and `SearchReport` hold the content, and `write(folder)` writes it. The frame and Plotly are in
`page.py`, figures in `figures.py`, tables in `tables.py`, sentences in `sentences.py`.
"""

from tune.report.ablation_report import AblationReport
from tune.report.build import search_report
from tune.report.search_report import SearchReport

__all__ = ["AblationReport", "SearchReport", "search_report"]
