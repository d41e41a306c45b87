"""Curves as SVG, drawn by hand: lines over time or over a size, dots where something was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 44
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#64748b")
DARK, GREY = "#0f172a", "#cbd5e1"

Points = Sequence[tuple[float, float]]


def curves(
    title: str,
    across: str,
    lines: Mapping[str, Points],
    *,
    dots: Mapping[str, Points] | None = None,
    marks: Sequence[float] = (),
) -> str:
    """A picture of named ``lines``, and of ``dots`` in the colour of the line of the same name, from zero up; ``marks``
    are moments on the axis ``across``, which say that something happened there.
    """
    dots = dots or {}
    names = [*lines, *(name for name in dots if name not in lines)]
    points = [point for found in (*lines.values(), *dots.values()) for point in found]
    wide, high = _steps(max(x for x, _ in points)), _steps(max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / wide[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / high[-1] * (HEIGHT - BOTTOM - TOP),
        )

    told = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(10, 20, title, 'font-weight="600" font-size="13"'),
        _text(WIDTH / 2, HEIGHT - 8, across, 'text-anchor="middle"'),
    ]
    for y in high:
        at = place(0, y)[1]
        line = f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{GREY}"/>'
        told += [line, _text(LEFT - 8, at + 4, f"{y:,.4g}", 'text-anchor="end"')]
    told += [_text(place(x, 0)[0], HEIGHT - BOTTOM + 16, f"{x:,.4g}", 'text-anchor="middle"') for x in wide]
    told += [
        f'<path d="M{place(x, 0)[0]:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-dasharray="3 3"/>'
        for x in marks
    ]
    beside = LEFT
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        told.append(f'<rect x="{beside}" y="32" width="10" height="10" fill="{colour}"/>')
        told.append(_text(beside + 15, 41, name))
        beside += 30 + 7 * len(name)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in lines.get(name, ())))
        told.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for point in dots.get(name, ()):
            x, y = place(*point)
            told.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    return "\n".join([*told, "</svg>", ""])


def _steps(most: float) -> list[float]:
    """Round numbers from 0 to ``most`` or just above it, five at most and a zero."""
    power = 10.0 ** math.floor(math.log10(max(most, 1e-9) / 5))
    step = next(digit * power for digit in (1, 2, 5, 10, 20) if digit * power * 5 >= most)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)] if most > 0 else [0.0, 1.0]


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{DARK}" {more}>{escape(words)}</text>'
