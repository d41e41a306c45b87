"""Usage by day and model as a picture: where its bars stand, for a template that draws them as SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from chat.admin.cells import dollars, one_line

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 12, 28
# As many models have a colour of their own as can be told apart; the others share one.
SERIES = 6
OTHERS = "Other models"
UNKNOWN = "Model not known"


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's share of one model. Places and sizes are in units of the picture, as text: a template would localize
    a number.
    """

    x: str
    y: str
    width: str
    height: str
    series: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A word on an axis and where it stands."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """``series`` are the names of the colours, biggest first."""

    bars: list[Bar]
    days: list[Mark]
    steps: list[Mark]
    series: list[str]
    width: str = str(WIDTH)
    height: str = str(HEIGHT)
    left: str = str(LEFT)
    floor: str = str(HEIGHT - BOTTOM)


def draw(days: Sequence[date], totals: Sequence[dict[str, Any]], measure: str) -> Chart:
    """A chart of ``totals`` by day and model: bars of ``measure`` (``total_tokens`` or ``cost_micros``), one a day, its
    models on top of each other, over all of ``days``, of which there is one at least.
    """
    by_model: dict[str, int] = defaultdict(int)
    for total in totals:
        by_model[total["model"]] += total[measure]
    ranked = sorted(by_model, key=lambda model: (-by_model[model], model))
    place = {model: min(rank, SERIES) for rank, model in enumerate(ranked)}
    amounts: dict[tuple[str, int], int] = defaultdict(int)
    for total in totals:
        amounts[total["day"], place[total["model"]]] += total[measure]
    names = [one_line(model) or UNKNOWN for model in ranked[:SERIES]] + [OTHERS] * (len(ranked) > SERIES)

    heights = [sum(amounts[str(day), rank] for rank in range(len(names))) for day in days]
    step = nice_step(max(heights, default=0))
    top = max(step, -(-max(heights, default=0) // step) * step)
    floor, scale = HEIGHT - BOTTOM, (HEIGHT - BOTTOM - TOP) / top
    column = (WIDTH - LEFT - RIGHT) / len(days)
    bars = []
    for number, day in enumerate(days):
        below = 0
        for rank, name in enumerate(names):
            if amount := amounts[str(day), rank]:
                below += amount
                bars.append(
                    Bar(
                        x=f"{LEFT + column * (number + 0.12):.2f}",
                        y=f"{floor - below * scale:.2f}",
                        width=f"{column * 0.76:.2f}",
                        height=f"{amount * scale:.2f}",
                        series=str(rank),
                        title=f"{day}: {name}, {told(amount, measure)}",
                    )
                )
    every = -(-len(days) // 15)
    return Chart(
        bars=bars,
        days=[
            Mark(f"{LEFT + column * (number + 0.5):.2f}", f"{day:%b} {day.day}")
            for number, day in enumerate(days)
            if (len(days) - 1 - number) % every == 0
        ],
        steps=[Mark(f"{floor - amount * scale:.2f}", short(amount, measure)) for amount in range(0, top + 1, step)],
        series=names,
    )


def nice_step(most: int) -> int:
    """The distance of four or five lines up to ``most``: 1, 2 or 5 and zeros."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * 5 >= most:
                return digit * power
        power *= 10


def told(amount: int, measure: str) -> str:
    """An amount in words, to the last digit."""
    return dollars(amount) if measure == "cost_micros" else f"{amount:,} tokens"


def short(amount: int, measure: str) -> str:
    """A round amount in a few letters, for an axis."""
    if measure == "cost_micros":
        return dollars(amount)
    for power, letter in ((12, "T"), (9, "B"), (6, "M"), (3, "K")):
        if amount >= 10**power:
            return f"{amount / 10**power:,.3g}{letter}"
    return str(amount)
