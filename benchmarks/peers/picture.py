"""A bar chart as SVG, drawn by hand: horizontal bars, one a peer, on a scale that may be logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 760, 22, 10, 250, 110, 34
OURS, OTHERS = "#2563eb", "#94a3b8"


def bars(title: str, figures: Sequence[tuple[str, float, str]], *, ours: str, logarithmic: bool = False) -> str:
    """Bars for (name, figure, the figure as words), longest for the largest; figures are above zero."""
    height = TOP + len(figures) * (BAR + GAP) + GAP
    largest = max(figure for _, figure, _ in figures)
    smallest = min(figure for _, figure, _ in figures)

    def length(figure: float) -> float:
        part = figure / largest
        if logarithmic:
            decades = math.log10(largest) - math.floor(math.log10(smallest))
            part = 1 - math.log10(largest / figure) / (decades or 1)
        return max(2.0, part * (WIDTH - LEFT - RIGHT))

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{GAP}" y="20" font-weight="600" fill="#0f172a">{escape(title)}</text>',
    ]
    for place, (name, figure, words) in enumerate(figures):
        y = TOP + place * (BAR + GAP)
        middle, end = y + BAR * 0.7, LEFT + length(figure)
        colour = OURS if name == ours else OTHERS
        lines += [
            f'<text x="{LEFT - GAP}" y="{middle:.1f}" text-anchor="end" fill="#0f172a">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
            f'<text x="{end + 6:.1f}" y="{middle:.1f}" fill="#334155">{escape(words)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
