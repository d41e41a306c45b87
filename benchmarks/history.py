"""The history rows of the numbers to reach, each against one raw INSERT in the same run::

python -m benchmarks.history [--quick] [--chats 5000] [--bad 0.01] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import django

from benchmarks import history_reads
from benchmarks.history_steps import History, Took
from benchmarks.processes import quiet
from benchmarks.report import Row, hand_on, say
from benchmarks.stage import PRODUCTION, Stage
from tests.copilot.history_data import Shape, shape

# Cores that others may use of the machine before a measurement counts as disturbed.
DISTURBED = 0.4
RAW, BACKFILL, FIRST, AGAIN, CHECK = "raw insert", "backfill", "first reconcile", "reconcile again", "--check"
Rounds = list[dict[str, Took]]


def bulk_rows(history: History, rounds: int, patience: float) -> Iterator[Row]:
    """Filling the mirror, and comparing it when it is full."""
    measured: Rounds = []
    while len([one for one in measured if _is_calm(one)]) < rounds and len(measured) < 2 * rounds:
        measured.append(_round(history, patience))
    calm = [one for one in measured if _is_calm(one)]
    kept = calm if len(calm) > rounds / 2 else measured
    doubtful = kept is measured

    def row(name: str, what: str, *, at_least: float | None = None, at_most: float | None = None) -> Row:
        """Speed against the raw one's where it is to be as fast, seconds where it is to take a part of them."""
        ratios = [one[RAW].seconds / one[name].seconds for one in kept]
        speed = at_least is not None
        compared = ratios if speed else [1 / ratio for ratio in ratios]
        figures = [history.messages / one[name].seconds if speed else one[name].seconds for one in kept]
        raw = [history.messages / one[RAW].seconds if speed else one[RAW].seconds for one in kept]
        wal = f"WAL {_median(kept, name, 'wal') / 1e6:,.0f} MB against {_median(kept, RAW, 'wal') / 1e6:,.0f}"
        cpu = f"PostgreSQL's CPU {_median(kept, name, 'cpu'):.1f} s against {_median(kept, RAW, 'cpu'):.1f}"
        return Row(
            what,
            median(figures),
            "messages/s" if speed else "s",
            median(raw),
            "ratio",
            value=median(compared),
            spread=(min(compared), max(compared)),
            at_least=at_least,
            at_most=at_most,
            doubtful=doubtful,
            note=f"{len(kept)} rounds; {wal}; {cpu}; others used "
            f"{max(one[each].others for one in kept for each in (RAW, name)):.1f} cores at most",
        )

    yield row(BACKFILL, "backfill in the migration", at_least=0.95)
    yield row(FIRST, "first reconcile", at_least=0.95)
    yield row(AGAIN, "reconcile again, nothing to do", at_most=0.35)
    yield row(CHECK, "--check, nothing to do", at_most=0.6)
    yield Row(
        "memory of the command, at most",
        max(one[name].memory for one in kept for name in (FIRST, AGAIN, CHECK)) / 1e6,
        "MB",
        at_most=200,
    )
    for name, at_most in ((FIRST, None), (AGAIN, 1.0), (CHECK, 1.0)):
        share = [100 * one[name].wal / one[RAW].wal for one in kept]
        yield Row(f"WAL of {name}, of the raw insert's", median(share), "%", at_most=at_most)
    held = [one[FIRST].locks for one in kept]
    yield Row(
        "first reconcile: locks held, p99",
        median(one["p99_ms"] for one in held),
        "ms",
        at_most=100,
        doubtful=doubtful,
        note=f"{held[-1]['transactions']:.0f} transactions, {max(one['max_ms'] for one in held):.0f} ms at most",
    )


def _round(history: History, patience: float) -> dict[str, Took]:
    found: dict[str, Took] = {}
    steps: list[tuple[str, Callable[[], Took]]] = [
        (RAW, history.raw_insert),
        (BACKFILL, history.backfill),
        (FIRST, history.first_reconcile),
        (AGAIN, history.reconcile_again),
        (CHECK, history.check),
    ]
    for name, measure in steps:
        quiet(DISTURBED, patience)
        found[name] = measure()
        say(f"{name}: {found[name].line()}")
    return found


def _is_calm(one: dict[str, Took]) -> bool:
    return all(took.others <= DISTURBED for took in one.values())


def _median(rounds: Rounds, name: str, what: str) -> float:
    return float(median(getattr(one[name], what) for one in rounds))


def measure(wanted: Shape, rounds: int, patience: float, *, quick: bool) -> list[Row]:
    """All rows, printed as they are found."""
    rows = []
    with Stage() as stage:
        # The store functions that are measured run in this process, on the stage's database.
        os.environ.update(PRODUCTION, DATABASE_URL=stage.dsn, DJANGO_SETTINGS_MODULE="chatproject.settings")
        django.setup()
        history = History(stage, wanted)
        say(f"{history.chats:,} chats, {history.messages:,} messages, {history.size / 1e6:,.0f} MB of JSON")
        for source in (bulk_rows(history, rounds, patience), history_reads.rows(history, quick=quick)):
            for row in source:
                rows.append(row)
                say("  ".join(cell for cell in row.cells() if cell))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__.partition("::")[0])
    parser.add_argument("--chats", type=int, default=Shape().chats, help="(%(default)s)")
    parser.add_argument("--bad", type=float, default=0.0, help="part of the elements that are bad (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of everything (%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds to wait for a quiet machine (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    parser.add_argument("--quick", action="store_true", help="tiny numbers: that it runs, not what it finds")
    options = parser.parse_args()
    if options.quick:
        options.chats, options.rounds, options.patience = 40, 1, 0.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the database, not without
    begun = time.monotonic()
    rows = measure(shape(options.chats, bad=options.bad), options.rounds, options.patience, quick=options.quick)
    hand_on(rows, time.monotonic() - begun, options.json)


if __name__ == "__main__":
    main()
