"""Draws what `control_table` measured: control against reconstruction, for edits of one word and for those that spread.

    python -m tests.benchmarks.control_figure --sparse tune/studies/reports/code_dropout --output FILE.png

Every point is a quantizer, or none, at one end of the encoder on one corpus, the mean over its seeds; a bar is their
range. With `--sparse REPORT` the arms of an ablation of sparse codes stand beside them, from its `runs.parquet`: an
edit of a sentence whose other codes were left out where the decoder could do without.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.control_rows import CORPORA, MODELS, SEEDS, Key, Values, read
from tests.benchmarks.search_tables import parser

TABLE = Path(__file__).parent / "results" / "control_table.csv"
PLACES = {"0": ("embeddings", "#0072b2"), "end": ("encoder's end", "#d55e00")}
"""The words and the colour of a place of the quantizer."""
MARKS = dict(zip(CORPORA, "o^", strict=True))
SPARSE = "#009e73"
PANELS = {"local": "Edits of one word", "distributed": "Edits that other words must follow"}
Point = tuple[float, Sequence[float]]
"""An exact match, and the control of every seed."""


def points(done: Mapping[Key, Values], corpus: str, position: str, kind: str) -> Iterator[Point]:
    """Yields the quantizers of a corpus and a place, whose control of a kind was measured."""
    for model in MODELS:
        rows = [done[model, seed] for seed in SEEDS if (model, seed) in done]
        if (model.corpus, model.position) == (corpus, position) and rows and all(kind in row for row in rows):
            yield statistics.fmean(row["exact match"] for row in rows), [row[kind] for row in rows]


def sparse_points(report: Path, kind: str) -> dict[str, Point]:
    """Returns the arms of an ablation of sparse codes, with the words of its report."""
    runs = pd.read_parquet(report / "runs.parquet").query("phase == 'comparison'")
    found = {}
    for arm, rows in runs.groupby("arm"):
        control = rows[f"control/sparse_{kind}_intervention"].dropna()
        if len(control):
            found[str(arm)] = float(rows["sparse/exact_match"].mean()), list(control)
    return found


def drawn(done: Mapping[Key, Values], sparse: Path | None) -> Figure:
    """Draws both kinds of control side by side."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (kind, title) in zip(axes, PANELS.items(), strict=True):
        for position, (place, colour) in PLACES.items():
            for corpus, mark in MARKS.items():
                label = f"{corpus}, codes of the {place}"
                _draw(axis, list(points(done, corpus, position, kind)), label=label, color=colour, marker=mark)
        if sparse is not None:
            arms = sparse_points(sparse, kind)
            _draw(axis, list(arms.values()), label="grammar, sparse codes", color=SPARSE, marker="*", markersize=11)
        axis.set(title=title, xlabel="exact match of reconstruction", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axis.grid(color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of edits whose text is the right answer")
    axes[1].legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _draw(axis: Axes, some: Sequence[Point], **style: Any) -> None:
    if not some:
        return
    means = [statistics.fmean(values) for _, values in some]
    ranges = [
        [mean - min(values) for mean, (_, values) in zip(means, some, strict=True)],
        [max(values) - mean for mean, (_, values) in zip(means, some, strict=True)],
    ]
    look = {"linestyle": "", "markersize": 6, "alpha": 0.85, "elinewidth": 0.8, **style}
    axis.errorbar([exact for exact, _ in some], means, yerr=ranges, **look)


def main() -> None:
    """Draws the figure."""
    made = parser(__doc__)
    made.add_argument("--table", type=Path, default=TABLE, help="default: the committed one")
    made.add_argument("--sparse", type=Path, help="the folder of an ablation's report")
    options = made.parse_args()
    done = read(options.table)
    if not done:
        sys.exit(f"{options.table} has no models; train some: python -m tests.benchmarks.control_table")
    figure = drawn(done, options.sparse)
    FigureCanvasAgg(figure)
    figure.savefig(options.output or Path("control.png"), dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
