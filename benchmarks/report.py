"""What the benchmarks found, as rows: each a figure, what it is measured against, and the bar."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``compare`` says what is held against the bar: the ratio to the baseline, how much it is over the
    baseline, or the figure itself.
    """

    what: str
    figure: float
    unit: str
    baseline: float | None = None
    compare: Literal["ratio", "over", "itself"] = "itself"
    value: float | None = None  # where it is not just figure and baseline: a median of pairs, say
    spread: tuple[float, float] | None = None  # the least and the largest value of all pairs
    at_least: float | None = None
    at_most: float | None = None
    doubtful: bool = False  # no verdict
    doubt: str = "too busy to tell"  # why: others had the machine
    note: str = ""

    @property
    def compared(self) -> float:
        """What is held against the bar."""
        if self.value is not None:
            return self.value
        if self.baseline is None or self.compare == "itself":
            return self.figure
        return self.figure / self.baseline if self.compare == "ratio" else self.figure - self.baseline

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None where there is none, or where nobody can tell."""
        if self.doubtful:
            return None
        if self.at_least is not None:
            return self.compared >= self.at_least
        return self.compared <= self.at_most if self.at_most is not None else None

    def cells(self) -> list[str]:
        ratio = self.compare == "ratio"
        compared = "" if self.compare == "itself" else f"x {self.compared:.2f}" if ratio else f"{self.compared:+.1f}"
        if self.spread:
            compared += f" ({self.spread[0]:.2f} to {self.spread[1]:.2f})"
        bar = self.at_least if self.at_least is not None else self.at_most
        limit = "" if bar is None else f"{'≥' if self.at_least is not None else '≤'} {_number(bar)}"
        verdict = {True: "reached", False: "MISSED", None: self.doubt if self.doubtful else ""}[self.reached]
        baseline = "" if self.baseline is None else _number(self.baseline)
        return [self.what, f"{_number(self.figure)} {self.unit}".strip(), baseline, compared, limit, verdict]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "value": self.compared, "reached": self.reached}


HEADINGS = ["what", "figure", "baseline", "compared", "bar", ""]


def table(rows: Iterable[Row]) -> str:
    """The rows as lines for a terminal, the notes under their rows."""
    rows = list(rows)
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    result = [lines[0], "-" * max(map(len, lines))]
    for row, line in zip(rows, lines[1:], strict=True):
        result.append(line)
        if row.note:
            result.append(f"    {row.note}")
    return "\n".join(result)


def hand_on(rows: list[Row], seconds: float, path: Path | None) -> None:
    """Print what a run of ``seconds`` found; with a ``path``, write it there as JSON."""
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": round(seconds),
        "commit": commit(),
    }
    print(f"\n{table(rows)}\n\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    if path:
        found = {**about, "rows": [row.as_json() for row in rows]}
        path.write_text(json.dumps(found, indent=2, ensure_ascii=False))


def commit() -> str:
    """Of the code that was measured."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def say(line: str) -> None:
    """Progress; the table is what is handed on."""
    print(line, file=sys.stderr, flush=True)


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if (abs(value) >= 1 and round(value, 1) == value) or abs(value) >= 10 else f"{value:.2f}"
