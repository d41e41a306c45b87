"""``docs/peers.md`` and its pictures, from what a run found. Every figure and every loss in it is the run's."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.peers import picture
from benchmarks.peers.findings import ALONE, DISTURBED, RATE, Findings, Sizes
from benchmarks.peers.history import Backfill
from benchmarks.peers.probes import times
from benchmarks.report import commit

# What is within this of ours is no win and no loss.
TIE = 0.05
DIGITS = re.compile(r"\d+")
ONCE = f"run {times(1)};"
WHY = """Why: every token is committed before it is shown. So it waits for the next commit of its process, which is the
delay, and PostgreSQL works for it, which is the CPU; the bare view and Chainlit commit nothing while they stream, and
the AI SDK's server keeps an answer in its memory until somebody resumes. Where a server bears less than the load, its
delays are those of the tokens that it did make: see how many came within a second. After a kill the lease is what tells
a server that is gone from one that is slow; the turn has ended by then, so its thread has no live stream, and the
turn's own (`/api/turns/{turn}/stream`) and the history have what was shown."""


@dataclass(frozen=True, slots=True)
class Run:
    """The circumstances."""

    sizes: Sizes
    options: list[str]  # of the command
    seconds: float

    @property
    def told(self) -> str:
        options = f' BENCH="{" ".join(self.options)}"' if self.options else ""
        return (
            f"Written by `make bench-peers{options}` on {datetime.now(UTC):%d %B %Y}, in {self.seconds / 60:.0f} "
            f"minutes, on {os.cpu_count()} cores, Python {platform.python_version()}, commit {commit()}; each load was "
            f"measured {times(self.sizes.rounds)}."
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of every peer. ``less`` says that less is better."""

    title: str
    of: Callable[[Findings], float | None]
    unit: str = ""
    less: bool = False
    file: str = ""  # of its picture
    logarithmic: bool = False

    def words(self, figure: float | None) -> str:
        return "not borne" if figure is None else f"{_number(figure)} {self.unit}".strip()

    def better(self, one: float, other: float) -> bool:
        """Whether one is better than the other by more than what is taken for the same."""
        return one < other * (1 - TIE) if self.less else one > other * (1 + TIE)


def write(docs: Path, run: Run, found: list[Findings], backfills: list[Backfill]) -> str:
    """Write the page and its pictures into ``docs``; returns the page."""
    there = [one for one in found if not one.missing]
    measures = _measures(run.sizes)
    pictures = docs / "peers"
    pictures.mkdir(parents=True, exist_ok=True)
    shown = [_picture(pictures, measure, there) for measure in measures if measure.file]
    parts = [
        "# Side by side",
        _intro(run, found),
        "## Figures",
        *_figures(run.sizes, measures, there),
        *shown,
        "## What happens when something goes wrong",
        *_observations(run.sizes, there),
    ]
    if backfills:
        parts += ["## History: from an array to rows", *_history(backfills)]
    parts += [
        "## Where this project loses",
        _losses(measures, there, backfills),
        "## How each was built",
        *_built(found),
    ]
    page = "\n\n".join(parts) + "\n"
    (docs / "peers.md").write_text(page)
    return page


def _measures(sizes: Sizes) -> list[Measure]:
    light, heavy = sizes.light, sizes.heavy

    def cpu(turns: int, what: str = "per_cpu_second") -> Callable[[Findings], float | None]:
        return lambda one: one.figure(turns, what)

    def delay(turns: int, quantile: float) -> Callable[[Findings], float | None]:
        return lambda one: one.delay(turns, quantile)

    tokens, delayed = "tokens per CPU second", "delay from agent to reader"
    timely = "offered tokens that came within a second"
    whole, beside = f"{tokens}, opening and storing included", f"{tokens}, and PostgreSQL's and Redis's CPU"
    return [
        Measure(f"{tokens}, {light} turns", cpu(light), file="tokens.svg"),
        Measure(f"{tokens}, {heavy} turns", cpu(heavy), file="tokens-many.svg"),
        Measure(f"{whole}, {light} turns", cpu(light, "whole")),
        Measure(f"{whole}, {heavy} turns", cpu(heavy, "whole")),
        Measure(f"{beside}, {light} turns", cpu(light, "with_beside")),
        Measure(f"{beside}, {heavy} turns", cpu(heavy, "with_beside")),
        Measure(f"{delayed}, one turn alone, p50", delay(ALONE, 0.5), "ms", less=True),
        Measure(f"{delayed}, {light} turns, p50", delay(light, 0.5), "ms", less=True),
        Measure(f"{delayed}, {light} turns, p99", delay(light, 0.99), "ms", True, "delay.svg", True),
        Measure(f"{delayed}, {heavy} turns, p50", delay(heavy, 0.5), "ms", less=True),
        Measure(f"{delayed}, {heavy} turns, p99", delay(heavy, 0.99), "ms", less=True),
        Measure("memory of a live turn", lambda one: one.memory and one.memory / 1024, "KB", True, "memory.svg"),
        Measure(f"{timely}, {light} turns", lambda one: one.in_time(light), "%"),
        Measure(f"{timely}, {heavy} turns", lambda one: one.in_time(heavy), "%"),
    ]


def _intro(run: Run, found: list[Findings]) -> str:
    lines = [
        "The same work done by this project and by what a team would otherwise pick: the same agent (tokens at a fixed "
        "rate, each the time at which it was made), the same client, the same machine, one run. The peers are "
        "installed from the registries and put together as their own documentation says; how, stands at the end.",
        run.told,
    ]
    spans = [load.span for one in found for loads in one.loads.values() for load in loads if load.span]
    others = median(span.others / span.seconds for span in spans)
    if others > DISTURBED:
        lines.append(
            f"**Others used {others:.1f} of the {os.cpu_count()} cores meanwhile: take the figures for an order of "
            "magnitude.**"
        )
    lines += [f"**{one.title}** is missing: {one.missing}." for one in found if one.missing]
    return "\n\n".join(lines)


def _figures(sizes: Sizes, measures: Sequence[Measure], there: list[Findings]) -> list[str]:
    rows = [["keeps", *(one.keeps for one in there)]]
    rows += [[measure.title, *(measure.words(measure.of(one)) for one in there)] for measure in measures]
    return [
        _table(["", *(one.title for one in there)], rows),
        "Not borne: the answers did not come to their end within a minute.",
        f"A turn tells {RATE} tokens a second. CPU seconds are user and system time of the server's processes: while "
        "all turns are live, or from before the first request to behind the last answer. These turns are "
        f"{sizes.ramp + sizes.warm + sizes.seconds + 1:.0f} seconds long; people's are longer, and their opening "
        "weighs less. Delays are from the agent to the reader, while all turns are live. Memory is what a server grows "
        f"by for each of {sizes.live} turns at once that have told about {sizes.told} tokens each, after as many have "
        "come and gone.",
    ]


def _observations(sizes: Sizes, there: list[Findings]) -> list[str]:
    reader = [[one.title, one.reload, one.reconnect] for one in there]
    killed = [[one.title, *(one.kill.get(key, "") for key in ("shown", "stored", "state", "reader"))] for one in there]
    keys = list(there[0].double)
    doubled = [[one.title, *(one.double[key] for key in keys)] for one in there]
    return [
        f"Observed in this run, with an answer of {sizes.answer} tokens.",
        "**A reader is gone for a moment in mid-answer.** Reloaded: it knows the conversation only. Reconnected: it "
        "still has what it was shown.",
        _table(["", "reloaded page gets", "reconnected reader gets"], reader),
        "**`kill -9` of the server in mid-answer, and the same command again.** This project's lease is "
        f"{sizes.lease} s.",
        _table(
            ["", "shown before", "stored after", "how it stands", "the live stream, for a reader that comes back"],
            killed,
        ),
        "**The same message twice**: as a retry while the answer runs, once more after its end, and two at one "
        "instant. A run is what a provider bills.",
        _table(["", *keys], doubled),
        _level(there),
    ]


def _history(backfills: list[Backfill]) -> list[str]:
    rows = [
        [
            one.title,
            f"{one.messages / one.took.seconds:,.0f}",
            f"{one.took.wal / 1e6:,.0f} MB",
            one.bad,
        ]
        for one in backfills
    ]
    return [
        f"{backfills[0].messages:,} messages of about 1 KB in JSONB arrays (`tests/copilot/history_data.py`), carried "
        "over into an empty table with the same columns and indexes; then the same with one element in a hundred that "
        "is bad (no object, no id, no role, no time). The loop is a Django data migration as it is usually written.",
        _table(["", "messages/s", "WAL", "with bad elements"], rows),
    ]


def _losses(measures: Sequence[Measure], there: list[Findings], backfills: list[Backfill]) -> str:
    """Every figure in which somebody is ahead of ours, without exception."""
    ours, *others = there
    lines = []
    for measure in measures:
        figure = measure.of(ours)
        ahead = [
            f"{one.title} {measure.words(other)}"
            for one in others
            if (other := measure.of(one)) is not None and (figure is None or measure.better(other, figure))
        ]
        if ahead:
            lines.append(f"- {measure.title}: {', '.join(ahead)}; this project {measure.words(figure)}.")
    if "after" in ours.kill["state"]:
        lines.append(
            "- After `kill -9` a turn is still said to be live until its lease has run out, and its thread busy: "
            f"{ours.kill['state']}."
        )
    if backfills:
        own = [way for way in backfills if way.title.startswith("ours")]
        for way, rival in product(own, [way for way in backfills if way not in own]):
            if way.took.seconds > rival.took.seconds * (1 + TIE):
                times = way.took.seconds / rival.took.seconds
                lines.append(f"- {way.title}: {times:.1f} times as long as {rival.title} on good data.")
            if way.took.wal > rival.took.wal * (1 + TIE):
                lines.append(f"- {way.title}: {way.took.wal / rival.took.wal:.1f} times the WAL of {rival.title}.")
    if not lines:
        return "Nowhere in this run."
    return "\n".join([f"Every figure in which another one was ahead by more than {TIE:.0%}:\n", *lines, "", WHY])


def _level(there: list[Findings]) -> str:
    """Who does as well as ours where something goes wrong."""
    ours, *others = there
    same: dict[str, Callable[[Findings], bool]] = {
        "a reload, and a reader that comes back": lambda one: (
            [DIGITS.sub("", words) for words in (one.reload, one.reconnect)]
            == [DIGITS.sub("", words) for words in (ours.reload, ours.reconnect)]
        ),
        "a message sent twice is run once": lambda one: all(words.startswith(ONCE) for words in one.double.values()),
        "what is stored after `kill -9` is all that was shown": lambda one: "100%" in one.kill.get("stored", ""),
    }
    lines = [
        f"- {what}: {', '.join(one.title for one in others if does(one)) or 'nobody'}." for what, does in same.items()
    ]
    return "\n".join(["Who does the same as this project:\n", *lines])


def _built(found: list[Findings]) -> Iterable[str]:
    return [f"**{one.title}**: {one.how}. Keeps: {one.keeps}." for one in found]


def _picture(folder: Path, measure: Measure, there: list[Findings]) -> str:
    figures = [(one.title, figure, measure.words(figure)) for one in there if (figure := measure.of(one) or 0) > 0]
    title = f"{measure.title}{', logarithmic' if measure.logarithmic else ''}"
    drawn = picture.bars(title[0].upper() + title[1:], figures, ours=there[0].title, logarithmic=measure.logarithmic)
    (folder / measure.file).write_text(drawn)
    return f"![{measure.title}]({folder.name}/{measure.file})"


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}"
