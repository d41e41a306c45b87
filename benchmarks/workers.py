"""What the way over a worker costs: the same server with its runs in its own process, and with a worker beside it.

python -m benchmarks.workers
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from benchmarks.client import Client, Span, Target, first_chunks, paced
from benchmarks.processes import cpu_of_tree, quiet
from benchmarks.report import Row, hand_on, say
from benchmarks.stage import Stage

DISTURBED = 0.4  # cores that others may use


def rows(stage: Stage, load: Client, rounds: int, turns: int, patience: float) -> Iterator[Row]:
    itself, web = stage.serve(CHAT_RUNNER="process"), stage.serve(CHAT_RUNNER="worker")
    worker = stage.work_for(web)
    firsts: dict[Target, list[float]] = {itself: [], web: []}
    spans: dict[Target, list[tuple[Span, float]]] = {itself: [], web: []}
    for number in range(rounds + 1):
        for target in firsts:
            quiet(DISTURBED, patience)
            found = load.run(first_chunks, target, 20 if number else 3)
            before = cpu_of_tree(worker)
            span = load.run(paced, target, turns if number else 1, 50, seconds=4, ramp=1.5, warm=1.5)
            in_worker = cpu_of_tree(worker) - before if target is web else 0.0
            if number:  # the first round warms up
                firsts[target] += found
                spans[target].append((span, in_worker))
                say(f"{'worker' if target is web else 'process'}: {median(found):.1f} ms, {span.line()}")
    for name, quantile in ("p50", 49), ("p99", 98):
        here, there = (quantiles(firsts[target], n=100)[quantile] for target in (itself, web))
        yield Row(f"time to first chunk, {name}", there, "ms", here, "over")
    for name, share in ("p50", 0.5), ("p99", 0.99):
        here, there = (median(span.delay(share) for span, _ in spans[target]) for target in (itself, web))
        yield Row(f"delay from agent to reader, {turns} turns, {name}", there, "ms", here, "over")
    here, there = (
        median(span.whole_tokens / (span.whole_server + beside) for span, beside in spans[target])
        for target in (itself, web)
    )
    yield Row(
        f"tokens per CPU second, {turns} turns",
        there,
        "",
        here,
        "ratio",
        note="whole turns; of the server and the worker together",
    )


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("DEBUG", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements (%(default)s)")
    parser.add_argument("--turns", type=int, default=50, help="concurrent turns (%(default)s)")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for a quiet machine (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    options = parser.parse_args()
    begun = time.monotonic()
    load = Client()
    try:
        with Stage() as stage:
            found = list(rows(stage, load, options.rounds, options.turns, options.patience))
    finally:
        load.close()
    hand_on(found, time.monotonic() - begun, options.json)


if __name__ == "__main__":
    main()
