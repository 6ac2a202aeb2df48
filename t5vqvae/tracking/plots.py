"""A plot of codebook usage: frequency of each code against its rank, both logarithmic, one line per codebook.

The SVG is written by hand and has a few kilobytes: a Plotly page has 5 MB, and a search has thousands of trials. It
states width and height, without which MLflow's page shows an empty frame.

Letters: K entries of a codebook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 640, 360, 50
MAX_POINTS = 200
COLOURS = ("#1f5fa8", "#c8552b", "#3c8c4e", "#8a4fa3", "#b08a1e", "#4aa3a3")


def usage_svg(code_counts: Sequence[Sequence[int]]) -> str:
    """Returns the plot as SVG text.

    Args:
        code_counts: How often each code was used, one list per codebook. The legend gives the number of codes used.
    """
    ranked = [sorted((count for count in counts_K if count > 0), reverse=True) for counts_K in code_counts]
    longest, highest = max((len(r) for r in ranked), default=1), max((r[0] for r in ranked if r), default=1)
    lines = [_line(counts, index, max(2, longest), max(2, highest)) for index, counts in enumerate(ranked) if counts]
    legend = [_legend(index, ranked[index], counts_K) for index, counts_K in enumerate(code_counts)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f"{_axes(longest, highest)}"
        f"{''.join(lines)}{''.join(legend)}</svg>"
    )


def effective_codes(counts: Sequence[int]) -> float:
    """Returns the perplexity of the codes, exp of the entropy of their frequencies; 0 when no code was used."""
    total = sum(counts)
    return math.exp(-sum(c / total * math.log(c / total) for c in counts if c)) if total else 0.0


def _line(counts: Sequence[int], index: int, longest: int, highest: int) -> str:
    ranks = sorted({round(len(counts) ** (i / (MAX_POINTS - 1))) for i in range(MAX_POINTS)})
    points = " ".join(f"{_x(rank, longest):.1f},{_y(counts[rank - 1], highest):.1f}" for rank in ranks)
    return f'<polyline points="{points}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="2"/>'


def _x(rank: int, longest: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * math.log(rank) / math.log(longest)


def _y(count: int, highest: int) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * math.log(count) / math.log(highest)


def _axes(longest: int, highest: int) -> str:
    right, bottom = WIDTH - MARGIN, HEIGHT - MARGIN
    frame = f'<path d="M{MARGIN} {MARGIN}V{bottom}H{right}" fill="none" stroke="#888"/>'
    texts = [
        (MARGIN, bottom + 16, "start", "1"),
        (right, bottom + 16, "end", f"{longest}"),
        (WIDTH / 2, bottom + 34, "middle", "rank of the code (logarithmic)"),
        (MARGIN - 6, bottom, "end", "1"),
        (MARGIN - 6, MARGIN + 4, "end", f"{highest}"),
        (MARGIN, MARGIN - 14, "start", "times used (logarithmic)"),
    ]
    return frame + "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in texts
    )


def _legend(index: int, used: Sequence[int], counts_K: Sequence[int]) -> str:
    text = f"codebook {index}: {len(used)} of {len(counts_K)} codes used, perplexity {effective_codes(counts_K):.1f}"
    colour = COLOURS[index % len(COLOURS)]
    return f'<text x="{WIDTH - MARGIN}" y="{MARGIN + 16 * index}" text-anchor="end" fill="{colour}">{text}</text>'
