"""Reports of studies: one self-contained HTML file, with Markdown, CSV and LaTeX beside it.

`AblationReport` and `SearchReport` hold what is said, and `write(folder)` says it. The frame and Plotly are in
`page.py`, figures in `figures.py`, tables in `tables.py`, sentences in `words.py`.
"""

from tune.report.ablation_report import AblationReport
from tune.report.build import main, search_report
from tune.report.search_report import SearchReport

__all__ = ["AblationReport", "SearchReport", "main", "search_report"]
