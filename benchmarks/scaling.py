"""How cost grows with turns, rate, readers, history and processes; fits, pictures and a table of sizes::

    python -m benchmarks.scaling [--quick] [--json FILE] [--page docs/scaling.md]

The page is written by hand but for what stands between its markers, ``<!-- measured: NAME -->`` and
``<!-- end -->``: that is written here.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean, linear_regression

import orjson

from benchmarks.client import Client
from benchmarks.curves import Points, curves
from benchmarks.report import commit
from benchmarks.scaling_sweeps import QUICK, RATE, TURNS, Found, Length, Point, Sizes, Sweeps
from benchmarks.stage import Stage
from chat.conf import DEFAULTS

FULL = 0.7  # of a core: beyond it a queue grows faster than the load
EXPLAINED = 0.7  # of the variance: what explains less is no line
ANSWER = 500  # tokens of an answer, where a figure needs one
DAY = 86_400
MARKED = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fit:
    """``fixed + each * size``, by least squares, and the share of the variance that it explains; the mean is what is
    left to say where it explains little.
    """

    fixed: float
    each: float
    explained: float
    mean: float

    def at(self, size: float) -> float:
        return self.fixed + self.each * size

    def line(self, sizes: Sequence[float]) -> Points:
        of = self.at if self.explained >= EXPLAINED else lambda size: self.mean
        return [(size, of(size)) for size in (0.0, max(sizes))]


def most(full: float, cost: Fit) -> float:
    """The size at which ``cost`` is ``full``; nan where it does not grow."""
    return (full - cost.fixed) / cost.each if cost.each > 0 else math.nan


def fit(points: Points) -> Fit:
    """With fewer than two points there is nothing to fit: raises ValueError."""
    x, y = [at for at, _ in points], [figure for _, figure in points]
    found = linear_regression(x, y)
    off = sum((b - found.intercept - found.slope * a) ** 2 for a, b in points)
    spread = sum((b - fmean(y)) ** 2 for b in y)
    return Fit(found.intercept, found.slope, 1 - off / spread if spread else 1.0, fmean(y))


class Costs:
    """The fits of everything that was found. Where the machine was full, a point is shown and not fitted."""

    def __init__(self, found: Found) -> None:
        self.found = found

        def by_size(points: Sequence[Point], figure: Callable[[Point], float]) -> Fit:
            return fit([(one.size, figure(one)) for one in _borne(points)])

        self.server = by_size(found.turns, lambda one: one.server)
        self.postgres = by_size(found.turns, lambda one: one.postgres)
        self.memory = by_size(found.turns, lambda one: one.memory)
        self.rate = by_size(found.rates, lambda one: one.server)
        self.postgres_rate = by_size(found.rates, lambda one: one.postgres)
        self.reader = by_size(found.readers, lambda one: one.server)
        self.process = by_size(found.processes, lambda one: one.server)
        self.process_postgres = by_size(found.processes, lambda one: one.postgres)
        told = [one for one in found.threads if one.size <= DEFAULTS["HISTORY_MESSAGES"]]
        self.thread = fit([(one.size, one.server) for one in told])
        self.chat = fit([(one.size, one.server) for one in found.chats])
        self.chat_postgres = fit([(one.size, one.postgres) for one in found.chats])
        self.chat_wal = fit([(one.size, one.wal) for one in found.chats])

    def turns_a_core(self, rate: float) -> float:
        """Turns at once that fill a core of a server, at so many tokens a second each; at ``RATE`` no more than were
        borne.
        """
        return min(most(FULL, self.server), self.most_turns()) * self.rate.at(RATE) / self.rate.at(rate)

    def most_turns(self) -> float:
        """The most turns at once whose tokens all came in time."""
        return _borne(self.found.turns)[-1].size

    def postgres_of_a_process(self) -> float:
        """Cores of PostgreSQL for one process, at the most: its turns share commits, so it hardly depends on them."""
        return max(one.postgres for one in (*_borne(self.found.turns), *_borne(self.found.rates)))

    def turns_a_postgres(self, cores: int, rate: float) -> float:
        """Turns of the full processes that a PostgreSQL with so many cores serves."""
        return cores * FULL // self.postgres_of_a_process() * self.turns_a_core(rate)

    def readers_a_core(self, rate: float) -> float:
        """Readers of one turn that fill a core of a server."""
        return most(FULL, self.reader) * RATE / rate

    def wal(self) -> float:
        """Bytes for each token, with the most turns that the machine bore."""
        return _borne(self.found.turns)[-1].wal


def _borne(points: Sequence[Point]) -> Sequence[Point]:
    """Those at which every token came in time; all, where that leaves too few."""
    fine = [one for one in points if one.keeps_up]
    return fine if len(fine) >= 2 else points


def blocks(costs: Costs, about: str) -> dict[str, str]:
    """What is measured, by the name of its marker, as Markdown."""
    found, log = costs.found, costs.found.log
    return {
        "about": about,
        "turns": _points("turns", found.turns)
        + f"\nCores of the server = {_line(costs.server, 'turn')}; of PostgreSQL = {_line(costs.postgres, 'turn')}; "
        f"memory = {_line(costs.memory, 'turn', 'MB')}.\n",
        "rates": _points(f"tokens a second of each of {TURNS} turns", found.rates)
        + f"\nCores of the server = {_line(costs.rate, 'token a second')}; of PostgreSQL = "
        f"{_line(costs.postgres_rate, 'token a second')}.\n",
        "readers": _points("readers of one turn", found.readers)
        + f"\nCores of the server = {_line(costs.reader, 'reader')}, "
        f"{costs.reader.each / RATE * 1e6:.1f} µs a chunk and reader. A reader that waits takes "
        f"{found.idle / 1024:.0f} KB.\n",
        "history": _lengths(found.threads, found.chats)
        + f"\nA turn's CPU of the server: thread, up to the {DEFAULTS['HISTORY_MESSAGES']} messages that an agent "
        f"gets, "
        f"{_line(costs.thread, 'message', 'ms')}; copilot chat "
        f"{_line(costs.chat, 'message', 'ms')}. A copilot chat's CPU of PostgreSQL: "
        f"{_line(costs.chat_postgres, 'message', 'ms')}; its WAL: {_line(costs.chat_wal, 'message', 'KB')}.\n",
        "processes": _points("processes", found.processes)
        + f"\nCores of the servers = {_line(costs.process, 'process')}; of PostgreSQL = "
        f"{_line(costs.process_postgres, 'process')}.\n",
        "log": f"{log.turns:,} turns with {log.tokens:,} chunks left {log.rows:,} rows and {log.bytes / 2**20:.1f} MB: "
        f"{log.bytes / log.tokens:.0f} bytes a chunk, {log.tokens / log.rows:.1f} chunks a row. "
        f"`prune_streams` took {log.prune:.2f} s for them, {log.rows / log.prune:,.0f} rows a second.\n",
        "sizing": _sizing(costs),
    }


def _sizing(costs: Costs) -> str:
    log, rates = costs.found.log, (20, 50, 100)
    figures: dict[str, Callable[[float], float]] = {
        "turns at once, a core of servers": costs.turns_a_core,
        **{
            f"turns at once, a PostgreSQL with {cores} cores": partial(costs.turns_a_postgres, cores)
            for cores in (2, 4, 8, 16)
        },
        "MB of WAL a second, of one with 4 cores": lambda rate: (
            costs.turns_a_postgres(4, rate) * rate * costs.wal() / 1e6
        ),
        "readers of one turn, a core of servers": costs.readers_a_core,
    }
    lines = [f"| what | {' | '.join(f'{rate} tokens/s' for rate in rates)} |", "|---" * (len(rates) + 1) + "|"]
    lines += [f"| {what} | {' | '.join(f'{of(rate):,.0f}' for rate in rates)} |" for what, of in figures.items()]
    rows, size, prunes = ANSWER * log.rows / log.tokens, ANSWER * log.bytes / log.tokens, log.rows / log.prune
    told = [
        f"Cores count as full at {FULL:.0%}, and a process with {costs.most_turns():.0f} turns at {RATE} tokens/s, the",
        f"most that were borne here; a process costs PostgreSQL {costs.postgres_of_a_process():.2f} cores at the most.",
        f"An answer of {ANSWER} tokens leaves {rows:.0f} rows and",
        f"{size / 1024:.0f} KB of log for as long as logs are kept: a million answers",
        f"{1e6 * size / 2**30:.0f} GB, which {1e6 * rows / prunes / 60:.0f} minutes of pruning take away.",
        f"A tenth of the day goes into pruning at {prunes * DAY * 0.1 / rows / 1e6:.1f} million answers a day.",
    ]
    return "\n".join([*lines, "", *told, ""])


def _line(fit_: Fit, each: str, unit: str = "") -> str:
    if fit_.explained < EXPLAINED:
        return f"{fit_.mean:.3g} {unit} on average, which no line explains".replace("  ", " ")
    return (
        f"{fit_.fixed:.3g} {unit} + {fit_.each:.3g} {unit} a {each}".replace("  ", " ")
        + f" (explains {max(0.0, fit_.explained):.0%})"
    )


def _points(what: str, points: Sequence[Point]) -> str:
    heads = ["tokens/s", "cores, server", "cores, PostgreSQL", "µs a token", "of PostgreSQL", "p50 ms", "p99 ms"]
    lines = [f"| {what} | {' | '.join(heads)} | memory MB | WAL bytes a token |", "|---" * 10 + "|"]
    for one in points:
        figures = [
            f"{one.tokens:,.0f}" + ("" if one.keeps_up else " (full)"),
            f"{one.server:.3f}",
            f"{one.postgres:.3f}",
            f"{one.server / max(1e-9, one.tokens) * 1e6:.0f}",
            f"{one.postgres / max(1e-9, one.tokens) * 1e6:.0f}",
            f"{one.p50:.1f}",
            f"{one.p99:.1f}",
            f"{one.memory:.0f}",
            f"{one.wal:.0f}",
        ]
        lines.append(f"| {one.size:g} | {' | '.join(figures)} |")
    return "\n".join([*lines, ""])


def _lengths(threads: Sequence[Length], chats: Sequence[Length]) -> str:
    heads = ["first chunk ms", "CPU ms, server", "PostgreSQL", "WAL KB"]
    lines = [f"| messages | thread: {' | '.join(heads)} | copilot chat: {' | '.join(heads)} |", "|---" * 9 + "|"]
    for pair in zip(threads, chats, strict=True):
        cells = [
            cell
            for one in pair
            for cell in (f"{one.first:.1f}", f"{one.server:.1f}", f"{one.postgres:.1f}", f"{one.wal:.0f}")
        ]
        lines.append(f"| {pair[0].size:g} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def pictures(costs: Costs) -> dict[str, str]:
    found = costs.found

    def cores(title: str, across: str, points: Sequence[Point], server: Fit, postgres: Fit | None) -> str:
        sizes = [one.size for one in points]
        lines = {"server": server.line(sizes)} | ({"PostgreSQL": postgres.line(sizes)} if postgres else {})
        dots = {"server": [(one.size, one.server) for one in points]}
        if postgres:
            dots["PostgreSQL"] = [(one.size, one.postgres) for one in points]
        return curves(title, across, lines, dots=dots)

    wal = {
        "thread": [(one.size, one.wal) for one in found.threads],
        "copilot chat": [(one.size, one.wal) for one in found.chats],
    }
    sizes = [one.size for one in found.chats]
    return {
        "turns": cores(
            f"Cores, by turns at {RATE} tokens a second", "turns", found.turns, costs.server, costs.postgres
        ),
        "rates": cores("Cores, by rate", "tokens a second", found.rates, costs.rate, costs.postgres_rate),
        "readers": cores("Cores, by readers of one turn", "readers", found.readers, costs.reader, None),
        "history": curves(
            "WAL of a turn in KB, by length of its history",
            "messages",
            {"thread": wal["thread"], "copilot chat": costs.chat_wal.line(sizes)},
            dots=wal,
        ),
        "processes": cores(
            "Cores of all processes, by their number",
            "processes",
            found.processes,
            costs.process,
            costs.process_postgres,
        ),
    }


def write(page: Path, costs: Costs, about: str) -> None:
    """Put what was found between the markers of the page, and the pictures into a folder of the same name."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    drawn = pictures(costs)
    for name, picture in drawn.items():
        (folder / f"{name}.svg").write_text(picture)
    told = blocks(costs, about)
    missing = set(told) - {name for _, name, _ in MARKED.findall(page.read_text())}
    if missing:
        raise ValueError(f"{page} has no marker for {', '.join(sorted(missing))}")

    def put(found: re.Match[str]) -> str:
        name = found[2]
        picture = f"\n![{name}]({folder.name}/{name}.svg)\n" if name in drawn else ""
        return f"{found[1]}{told[name].strip()}\n{picture}{found[3]}"

    page.write_text(MARKED.sub(put, page.read_text()))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("DEBUG", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write them between the markers of this page")
    parser.add_argument("--quick", action="store_true", help="tiny numbers: that it runs, not what it finds")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the servers, not without
    begun = time.monotonic()
    load = Client()
    try:
        with Stage() as stage:
            found = Sweeps(stage, load, QUICK if options.quick else Sizes()).all()
    finally:
        load.close()
    about = (
        f"{os.cpu_count()} cores, shared with the client that makes the load; Python {platform.python_version()}; "
        f"{time.monotonic() - begun:.0f} seconds of sweeps on {datetime.now(UTC):%d %B %Y}, commit {commit()}.\n"
    )
    costs = Costs(found)
    print("\n".join(blocks(costs, about).values()))
    if options.json:
        options.json.write_bytes(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    if options.page:
        write(options.page, costs, about)


if __name__ == "__main__":
    main()
